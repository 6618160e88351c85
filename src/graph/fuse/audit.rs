//! Names what is left of attention, norms and linears in a graph after fusing, so that nothing goes unsaid.

use super::attention::scores;
use super::pattern::{binary, producer, unary};
use super::quantized_attention::obstacle;
use crate::graph::{NotFused, Report};
use crate::ops::einsum::EinSum;
use crate::ops::plain::PlainOperator;
use crate::ops::{Attention, MatMul, QLinearSoftmax};
use std::collections::HashSet;
use tract_core::internal::*;
use tract_core::ops::konst::Const;
use tract_core::ops::nn::{Reduce, Softmax};

/// Nodes that are looked at upwards of one.
const REACH: usize = 48;

/// Adds to the report each remaining part of a pattern that no rule has given a reason for.
///
/// # Errors
/// When the graph is not consistent.
pub fn audit(model: &TypedModel, report: &mut Report) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        for (pattern, look) in [("attention", attention as Look), ("norm", norm), ("linear", linear)] {
            if let Some(reason) = look(model, node, report) {
                report.not_fused.push(NotFused { pattern: pattern.into(), node: node.name.clone(), reason });
            }
        }
    }
    Ok(())
}

type Look = fn(&TypedModel, &TypedNode, &Report) -> Option<String>;

fn is_reported(report: &Report, pattern: &str, node: &TypedNode) -> bool {
    report.not_fused.iter().any(|miss| miss.pattern.contains(pattern) && miss.node == node.name)
}

/// A softmax over what comes from a product of two computed operands.
fn attention(model: &TypedModel, node: &TypedNode, report: &Report) -> Option<String> {
    if !node.op_is::<Softmax>() && !node.op_is::<PlainOperator<QLinearSoftmax>>() {
        return None;
    }
    above(model, node).into_iter().find(|node| is_product(node) && constant_operand(model, node).is_none())?;
    let readers: Vec<&TypedNode> = below(model, node);
    if readers.iter().any(|reader| is_reported(report, "attention", reader)) {
        return None;
    }
    if let Some(reason) = obstacle(model, node) {
        return Some(reason);
    }
    if node.op_is::<Softmax>()
        && let Err(reason) = scores(model, node.inputs[0])
    {
        return Some(reason);
    }
    let names: Vec<String> = readers.iter().map(|reader| format!("{} `{}`", reader.op.name(), reader.name)).collect();
    Some(format!("the probabilities are not multiplied with values but read by {}", names.join(", ")))
}

/// A root over a mean of squares.
fn norm(model: &TypedModel, node: &TypedNode, report: &Report) -> Option<String> {
    if unary(node, "Sqrt").is_none() && unary(node, "Rsqrt").is_none() {
        return None;
    }
    let nodes = above(model, node);
    let mean = nodes.iter().find(|node| node.op_is::<Reduce>())?;
    if !above(model, mean).iter().any(|node| is_square(node)) || is_reported(report, "norm", node) {
        return None;
    }
    let within = nodes.iter().chain(&above(model, mean)).find(|node| node.op.name().contains("uantize")).copied();
    Some(match within {
        Some(node) => format!("{} `{}` stands within it", node.op.name(), node.name),
        None => format!("`{}` is not the mean of squares over the last axis", mean.name),
    })
}

fn is_square(node: &TypedNode) -> bool {
    let multiplied = binary(node, "Mul").is_some_and(|[left, right]| left == right);
    multiplied || unary(node, "Square").is_some() || binary(node, "Pow").is_some()
}

/// A product with what constants make.
fn linear(model: &TypedModel, node: &TypedNode, report: &Report) -> Option<String> {
    if !is_product(node) || is_reported(report, "linear", node) {
        return None;
    }
    let constant = producer(model, constant_operand(model, node)?);
    Some(if constant.op_is::<Const>() {
        let types: Vec<String> = node.inputs.iter().take(2).filter_map(|outlet| type_name(model, *outlet)).collect();
        format!("{} multiplies {} and is not fused", node.op.name(), types.join(" and "))
    } else {
        format!("the weights are what {} `{}` computes from constants", constant.op.name(), constant.name)
    })
}

fn type_name(model: &TypedModel, outlet: OutletId) -> Option<String> {
    model.outlet_fact(outlet).ok().map(|fact| format!("{:?}", fact.datum_type))
}

fn is_product(node: &TypedNode) -> bool {
    node.op_is::<MatMul>() || node.op_is::<PlainOperator<EinSum>>() || node.op.name().contains("MatMul")
}

/// The operand of a product that depends on constants only.
fn constant_operand(model: &TypedModel, node: &TypedNode) -> Option<OutletId> {
    node.inputs.iter().take(2).rev().copied().find(|outlet| is_constant(model, *outlet, REACH))
}

fn is_constant(model: &TypedModel, outlet: OutletId, reach: usize) -> bool {
    let node = producer(model, outlet);
    let computed = reach > 0 && !node.inputs.is_empty();
    node.op_is::<Const>() || (computed && node.inputs.iter().all(|input| is_constant(model, *input, reach / 2)))
}

/// The nodes above one, nearest first, up to `REACH` of them and no farther than a product, softmax, attention or reduction.
fn above<'a>(model: &'a TypedModel, node: &'a TypedNode) -> Vec<&'a TypedNode> {
    let mut found: Vec<&TypedNode> = Vec::new();
    let mut seen = HashSet::new();
    let mut next = 0;
    let mut current = node;
    loop {
        for input in &current.inputs {
            if found.len() < REACH && seen.insert(input.node) {
                found.push(model.node(input.node));
            }
        }
        loop {
            let Some(node) = found.get(next) else { return found };
            next += 1;
            let ends =
                is_product(node) || node.op_is::<Softmax>() || node.op_is::<Attention>() || node.op_is::<Reduce>();
            if !ends {
                current = node;
                break;
            }
        }
    }
}

/// The nodes that read a node's results.
fn below<'a>(model: &'a TypedModel, node: &TypedNode) -> Vec<&'a TypedNode> {
    let readers = node.outputs.iter().flat_map(|output| &output.successors);
    readers.map(|reader| model.node(reader.node)).collect()
}
