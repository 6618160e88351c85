//! `Deferred`: an ONNX node that is wired at run time, because what it cannot be wired without is not known before: the value
//! of an input that decides its output's shape (`axes`, `shape`, `sizes`, `repeats`, …), or the sizes of an input.

use super::builder::fresh_symbol;
use super::subgraph::{Argument, Subgraph, concrete};
use super::translate::Translation;
use crate::onnx::pb::{GraphProto, NodeProto, ValueInfoProto};
use tract_core::internal::*;

/// Inputs of this many elements at most may decide a shape.
const LARGEST_PARAMETER: usize = 4096;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    node: Subgraph,
    name: String,
    inputs: Vec<String>,
    outputs: TVec<TypedFact>,
}

impl Deferred {
    /// The node left to run time, if it has an input whose value or sizes may matter and the ranks of its outputs are known.
    pub fn new(translation: &Translation, node: &NodeProto, inputs: &[OutletId]) -> Option<Deferred> {
        let facts: Vec<&TypedFact> =
            inputs.iter().map(|outlet| translation.model().outlet_fact(*outlet)).collect::<TractResult<_>>().ok()?;
        let sized = |fact: &TypedFact| needs_sizes(&node.op_type) && !fact.shape.is_concrete();
        if !facts.iter().any(|fact| fact.konst.is_none() && (may_decide(fact) || sized(fact))) {
            return None;
        }
        let names: Vec<&String> = node.output.iter().filter(|name| !name.is_empty()).collect();
        let symbols = &translation.model().symbols;
        let fact = |(slot, name): (usize, &&String)| {
            let (datum_type, rank) = translation.declared(name).or_else(|| known(node, slot, &facts))?;
            Some(datum_type.fact((0..rank).map(|_| fresh_symbol(symbols, "deferred").to_dim())))
        };
        let outputs = names.iter().enumerate().map(fact).collect::<Option<TVec<_>>>()?;
        let mut alone = node.clone();
        // The same tensor at two places is two inputs.
        let mut inputs = vec![];
        for (position, input) in alone.input.iter_mut().enumerate().filter(|(_, input)| !input.is_empty()) {
            *input = format!("input {position}");
            inputs.push(input.clone());
        }
        let output = names.iter().map(|name| ValueInfoProto { name: name.to_string(), ..Default::default() });
        let graph = GraphProto { output: output.collect(), node: vec![alone], ..Default::default() };
        let node_graph = Subgraph::new(graph, translation, false);
        Some(Deferred { node: node_graph, name: node.op_type.clone(), inputs, outputs })
    }
}

/// Operators that may not be wired before the sizes of their inputs are known.
const SIZED: &[&str] = &[
    "AffineGrid",
    "Attention",
    "AveragePool",
    "CenterCropPad",
    "Col2Im",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GroupNormalization",
    "LpPool",
    "MaxPool",
    "RotaryEmbedding",
    "SpaceToDepth",
    "com.microsoft.BiasSplitGelu",
    "com.microsoft.GatedRelativePositionBias",
    "com.microsoft.GroupNorm",
    "com.microsoft.NhwcConv",
    "com.microsoft.QLinearAveragePool",
    "com.microsoft.SkipGroupNorm",
];

fn needs_sizes(op_type: &str) -> bool {
    SIZED.contains(&op_type)
}

/// Whether the value of such an input may decide a shape.
fn may_decide(fact: &TypedFact) -> bool {
    !fact.datum_type.is_float() || fact.rank() <= 1
}

/// Element type and rank of an output, where they follow from the inputs alone.
fn known(node: &NodeProto, slot: usize, inputs: &[&TypedFact]) -> Option<(DatumType, usize)> {
    let first = *inputs.first()?;
    let length = |position: usize| inputs.get(position)?.shape.first()?.to_usize().ok();
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    let same = Some((first.datum_type, first.rank()));
    match &*node.op_type {
        "Reshape" => Some((first.datum_type, length(1)?)),
        "Expand" => Some((first.datum_type, length(1)?.max(first.rank()))),
        "ConstantOfShape" => {
            let value = attribute("value").and_then(|value| value.t.as_ref());
            let value = value.map(crate::onnx::tensor_from_proto).transpose().ok()?;
            Some((value.map_or(DatumType::F32, |value| value.datum_type()), length(0)?))
        }
        "Range" => Some((first.datum_type, 1)),
        "com.microsoft.RelativePositionBias" | "com.microsoft.GatedRelativePositionBias" => Some((first.datum_type, 4)),
        "OneHot" => Some((inputs.get(2)?.datum_type, first.rank() + 1)),
        "TopK" | "MaxPool" if slot == 1 => Some((DatumType::I64, first.rank())),
        "Attention" if slot > 0 => Some((first.datum_type, 4)),
        "Slice" | "Tile" | "Pad" | "Resize" | "Upsample" | "Split" | "TopK" | "CumSum" | "Trilu" | "Clip" => same,
        "AffineGrid" => Some((first.datum_type, length(1)?)),
        "Col2Im" => Some((first.datum_type, 2 + length(1)?)),
        sized if needs_sizes(sized) => same,
        "Unsqueeze" => Some((first.datum_type, first.rank() + length(1)?)),
        "Squeeze" => Some((first.datum_type, first.rank().checked_sub(length(1)?)?)),
        reduction if reduction.starts_with("Reduce") => {
            let kept = attribute("keepdims").is_none_or(|keepdims| keepdims.i != 0);
            let removed = if kept { 0 } else { length(1)? };
            Some((first.datum_type, first.rank().checked_sub(removed)?))
        }
        _ => None,
    }
}

impl Op for Deferred {
    fn name(&self) -> StaticName {
        format!("Deferred{}", self.name).into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Deferred {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let argument = |(name, value): (&String, &TValue)| {
            let value = concrete(value, context)?;
            let parameter = !value.datum_type().is_float() || value.rank() <= 1;
            let constant = parameter && value.volume() <= LARGEST_PARAMETER;
            Ok(Argument { name: name.clone(), value, constant })
        };
        let arguments = self.inputs.iter().zip(&inputs).map(argument).collect::<TractResult<Vec<_>>>()?;
        self.node.run(&arguments)
    }
}

impl TypedOp for Deferred {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{graph, int64s, node, run, value, with_int};
    use crate::error::ErrorCode;
    use crate::onnx::pb::NodeProto;
    use crate::onnx::pb::tensor_proto::DataType::{Float, Int64};
    use tract_core::prelude::{IntoTValue, Tensor};

    struct Case {
        what: &'static str,
        node: NodeProto,
        parameter: &'static [i64],
        expected: Result<(&'static [usize], &'static [f32]), ErrorCode>,
    }

    #[test]
    fn parameters_that_only_a_run_tells() {
        let keep = |node| with_int(node, "keepdims", 0);
        let cases = [
            Case {
                what: "Reshape",
                node: node("Reshape", &["x", "p"], &["y"]),
                parameter: &[3, -1],
                expected: Ok((&[3, 2], &[1., 2., 3., 4., 5., 6.])),
            },
            Case {
                what: "Reshape to a wrong size",
                node: node("Reshape", &["x", "p"], &["y"]),
                parameter: &[4, 2],
                expected: Err(ErrorCode::UnsupportedOp),
            },
            Case {
                what: "ReduceSum of the first axis",
                node: keep(node("ReduceSum", &["x", "p"], &["y"])),
                parameter: &[0],
                expected: Ok((&[3], &[5., 7., 9.])),
            },
            Case {
                what: "ReduceSum of the last axis",
                node: keep(node("ReduceSum", &["x", "p"], &["y"])),
                parameter: &[-1],
                expected: Ok((&[2], &[6., 15.])),
            },
            Case {
                what: "Tile",
                node: node("Tile", &["x", "p"], &["y"]),
                parameter: &[1, 2],
                expected: Ok((&[2, 6], &[1., 2., 3., 1., 2., 3., 4., 5., 6., 4., 5., 6.])),
            },
            Case {
                what: "Expand",
                node: node("Expand", &["x", "p"], &["y"]),
                parameter: &[1, 2, 3],
                expected: Ok((&[1, 2, 3], &[1., 2., 3., 4., 5., 6.])),
            },
        ];
        for case in cases {
            let inputs = || vec![value("x", Float, &[-1, 3]), value("p", Int64, &[case.parameter.len() as i64])];
            // The result is read by another node, so that its size matters on.
            let nodes = vec![case.node.clone(), node("Add", &["y", "zero"], &["z"])];
            let zero = crate::onnx::pb::TensorProto {
                name: "zero".into(),
                data_type: Float as i32,
                float_data: vec![0.0],
                ..Default::default()
            };
            let output = vec![value("z", Float, &[])];
            let whole = graph(inputs(), vec![zero, int64s("unused", &[0], &[])], nodes, output);
            let x = Tensor::from_shape(&[2, 3], &[1f32, 2., 3., 4., 5., 6.]).unwrap();
            let parameter = Tensor::from_shape(&[case.parameter.len()], case.parameter).unwrap();
            let outputs = run(whole, &[], &[x.into_tvalue(), parameter.into_tvalue()]);
            let actual = outputs
                .as_ref()
                .map(|outputs| (outputs[0].shape(), outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap()));
            assert_eq!(actual.map_err(|error| error.code), case.expected, "{}", case.what);
        }
    }
}
