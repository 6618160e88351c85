//! Recognises the patterns of Transformers in a typed graph, by structure and not by name, and replaces each by one of
//! [`crate::ops`].

mod attention;
mod attention_layout;
mod audit;
mod axes;
mod cache;
mod columns;
mod embedding;
mod epilogue;
mod gated;
mod gelu;
mod linear;
mod lookup;
mod norm;
mod outer_product;
mod padding;
mod pattern;
mod projections;
mod quantized_attention;
mod quantized_linear;
mod quantized_norm;
mod repeated_rounding;
mod rotary;
mod rotate_and_cache;
mod silu;
#[cfg(test)]
mod sketch;
mod steps;

pub use linear::matrix;

use super::fold::{constant, without_effect};
use super::rewriter::sweep;
use super::{NotFused, Report};
use crate::error::{Error, Result};
use tract_core::internal::*;

/// What became of a place where a pattern was looked for.
enum Match {
    /// Nothing there looks like the pattern.
    None,
    /// It looks like the pattern but differs in a way that is not supported.
    Almost(String),
    /// The pattern, replaced.
    Found(Box<TypedModelPatch>),
}

/// A pattern and its replacement.
struct Rule {
    /// What the pattern becomes.
    pattern: &'static str,
    /// Looks for the pattern that ends or begins at a node.
    look: fn(&TypedModel, &TypedNode) -> TractResult<Match>,
}

/// Later rules build on what earlier ones found.
const RULES: &[Rule] = &[
    Rule { pattern: "repeated rounding", look: repeated_rounding::look },
    Rule { pattern: "lookup", look: lookup::look },
    Rule { pattern: "gelu", look: gelu::look },
    Rule { pattern: "silu", look: silu::look },
    Rule { pattern: "quantised norm", look: quantized_norm::look },
    Rule { pattern: "layer norm", look: norm::look_for_layer_norm },
    Rule { pattern: "rms norm", look: norm::look_for_rms_norm },
    Rule { pattern: "rotary embedding", look: rotary::look },
    Rule { pattern: "rotary layout", look: rotary::look_for_layout },
    Rule { pattern: "attention", look: attention::look },
    Rule { pattern: "attention", look: quantized_attention::look },
    Rule { pattern: "attention layout", look: attention_layout::look },
    Rule { pattern: "cache", look: cache::look },
    Rule { pattern: "outer product", look: outer_product::look },
    Rule { pattern: "linear", look: linear::look },
    Rule { pattern: "quantised linear", look: quantized_linear::look },
    Rule { pattern: "integer linear", look: quantized_linear::look_for_integer_linear },
    Rule { pattern: "linear epilogue", look: epilogue::look },
    Rule { pattern: "embedding", look: embedding::look },
    Rule { pattern: "embedding sum", look: embedding::look_for_sum },
    Rule { pattern: "gated linear", look: gated::look },
    Rule { pattern: "projections", look: projections::look },
    Rule { pattern: "columns", look: columns::look },
    Rule { pattern: "dynamic quantisation", look: quantized_linear::look_for_quantisation },
    Rule { pattern: "rotation and cache", look: rotate_and_cache::look },
    Rule { pattern: "convolution padding", look: padding::look },
];

/// Replaces every pattern; what was and was not recognised goes into `report`.
///
/// # Errors
/// `UnsupportedOp` when the graph turns out to be inconsistent.
pub fn fuse(mut model: TypedModel, report: &mut Report) -> Result<TypedModel> {
    let inconsistent = |error: TractError| Error::unsupported_op(format!("fusing the graph failed: {error:#}"));
    model = tidied(model).map_err(inconsistent)?;
    for rule in RULES {
        model = apply(rule, model, report).map_err(inconsistent)?;
    }
    audit::audit(&model, report).map_err(inconsistent)?;
    Ok(model)
}

/// The graph without nodes of constants and nodes that have no effect, so that patterns stand bare.
fn tidied(mut model: TypedModel) -> TractResult<TypedModel> {
    loop {
        let (changes, next) = sweep(model, |model, node| match constant(model, node)? {
            Some(patch) => Ok(Some(patch)),
            None => without_effect(model, node),
        })?;
        model = next;
        if changes == 0 {
            return Ok(model);
        }
    }
}

fn apply(rule: &Rule, mut model: TypedModel, report: &mut Report) -> TractResult<TypedModel> {
    loop {
        let mut not_fused = Vec::new();
        let (found, next) = sweep(model, |model, node| {
            let reason = match (rule.look)(model, node) {
                Ok(Match::None) => return Ok(None),
                Ok(Match::Found(patch)) => return Ok(Some(*patch)),
                Ok(Match::Almost(reason)) => reason,
                Err(error) => error.root_cause().to_string(),
            };
            not_fused.push(NotFused { pattern: rule.pattern.into(), node: node.name.clone(), reason });
            Ok(None)
        })?;
        model = next;
        if found == 0 {
            report.not_fused.append(&mut not_fused);
            return Ok(model);
        }
        *report.fused.entry(rule.pattern.to_string()).or_default() += found;
    }
}
