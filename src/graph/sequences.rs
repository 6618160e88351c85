//! ONNX's sequences of tensors and optional values: `SequenceConstruct`, `SequenceEmpty`, `SequenceInsert`, `SequenceErase`, `SequenceAt`,
//! `SequenceLength`, `SplitToSequence`, `ConcatFromSequence` (11 to 24), `Optional`, `OptionalHasElement`, `OptionalGetElement` (15 to 28).
//! They are resolved while the graph is translated, and at run time there are only tensors. So positions and lengths must be
//! constant, and a loop, a branch or the graph itself takes and gives tensors only.

use super::operators::Composer;
use super::translate::{Translation, cause};
use crate::error::{Error, Result};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{Slice, TypedConcat};

/// What a name in a graph stands for.
#[derive(Debug, Clone)]
pub enum Value {
    /// A tensor.
    Tensor(OutletId),
    /// A sequence of tensors.
    Sequence(Vec<OutletId>),
    /// An optional value that is not there.
    Nothing,
}

impl Value {
    fn tensors(&self) -> &[OutletId] {
        match self {
            Value::Tensor(tensor) => std::slice::from_ref(tensor),
            Value::Sequence(tensors) => tensors,
            Value::Nothing => &[],
        }
    }

    /// The same of other tensors, as many as there are in it.
    fn with_tensors(&self, tensors: &mut impl Iterator<Item = OutletId>) -> Value {
        match self {
            Value::Tensor(tensor) => Value::Tensor(tensors.next().unwrap_or(*tensor)),
            Value::Sequence(own) => Value::Sequence(tensors.take(own.len()).collect()),
            Value::Nothing => Value::Nothing,
        }
    }
}

/// Whether [`wire_sequence`] wires such operators.
pub fn is_known(op_type: &str) -> bool {
    const OPERATORS: &[&str] = &[
        "ConcatFromSequence",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SplitToSequence",
    ];
    OPERATORS.contains(&op_type)
}

/// Wires the node; gives its output.
///
/// # Errors
/// `UnsupportedOp` where a position or a length is not constant; `InvalidModel` for operands that the operator does not take.
pub fn wire_sequence(translation: &mut Translation, name: &str, node: &NodeProto) -> Result<Value> {
    let inputs =
        node.input.iter().map(|input| if input.is_empty() { Ok(Value::Nothing) } else { translation.value(input) });
    let inputs = inputs.collect::<Result<Vec<Value>>>()?;
    let tensors: Vec<OutletId> = inputs.iter().flat_map(Value::tensors).copied().collect();
    let mut output = Value::Nothing;
    let outlets = translation.builder.wire(&tensors, |fragment, taps| {
        let mut taps = taps.iter().copied();
        let inputs = inputs.iter().map(|input| input.with_tensors(&mut taps)).collect();
        output = Operator { node, inputs, composer: Composer::new(name, fragment) }.wire()?;
        Ok::<_, TractError>(output.tensors().iter().copied().collect())
    });
    let outlets = outlets.map_err(|error| cause(&error))?;
    Ok(output.with_tensors(&mut outlets.into_iter()))
}

struct Operator<'a> {
    node: &'a NodeProto,
    inputs: Vec<Value>,
    composer: Composer<'a>,
}

impl Operator<'_> {
    fn wire(mut self) -> TractResult<Value> {
        match &*self.node.op_type {
            "SequenceEmpty" => Ok(Value::Sequence(vec![])),
            "SequenceConstruct" => {
                let tensors = (0..self.inputs.len()).map(|position| self.tensor(position));
                tensors.collect::<TractResult<_>>().map(Value::Sequence)
            }
            "SequenceInsert" => {
                let (mut sequence, tensor) = (self.sequence(0)?, self.tensor(1)?);
                let place = self.place(2, sequence.len(), sequence.len() + 1, sequence.len())?;
                sequence.insert(place, tensor);
                Ok(Value::Sequence(sequence))
            }
            "SequenceErase" => {
                let mut sequence = self.sequence(0)?;
                let place = self.place(1, sequence.len(), sequence.len(), sequence.len().saturating_sub(1))?;
                sequence.remove(place);
                Ok(Value::Sequence(sequence))
            }
            "SequenceAt" => {
                let sequence = self.sequence(0)?;
                let place = self.place(1, sequence.len(), sequence.len(), 0)?;
                Ok(Value::Tensor(sequence[place]))
            }
            "SequenceLength" => {
                let length = self.sequence(0)?.len() as i64;
                self.composer.constant(tensor0(length)).map(Value::Tensor)
            }
            "SplitToSequence" => self.split().map(Value::Sequence),
            "ConcatFromSequence" => self.concat().map(Value::Tensor),
            "Optional" => Ok(self.inputs.pop().unwrap_or(Value::Nothing)),
            "OptionalHasElement" => {
                let is_there = !matches!(self.inputs.first(), None | Some(Value::Nothing));
                self.composer.constant(tensor0(is_there)).map(Value::Tensor)
            }
            _ => match self.inputs.pop() {
                None | Some(Value::Nothing) => Err(invalid("the optional value is not there")),
                Some(value) => Ok(value),
            },
        }
    }

    fn tensor(&self, position: usize) -> TractResult<OutletId> {
        match self.inputs.get(position) {
            Some(Value::Tensor(outlet)) => Ok(*outlet),
            _ => Err(invalid(&format!("its input {position} is not a tensor"))),
        }
    }

    fn sequence(&self, position: usize) -> TractResult<Vec<OutletId>> {
        match self.inputs.get(position) {
            Some(Value::Sequence(tensors)) => Ok(tensors.clone()),
            _ => Err(invalid(&format!("its input {position} is not a sequence"))),
        }
    }

    /// The integers of an input, where it is there.
    fn integers(&self, position: usize) -> TractResult<Option<Arc<Tensor>>> {
        match self.inputs.get(position) {
            None | Some(Value::Nothing) => Ok(None),
            _ => {
                let constant = self.composer.fact(self.tensor(position)?)?.konst.clone();
                constant.map(Some).ok_or_else(|| unsupported(&format!("its input {position} is not constant")))
            }
        }
    }

    /// A place in a sequence of `length` tensors, below `end`; negative ones count from its end.
    fn place(&self, position: usize, length: usize, end: usize, default: usize) -> TractResult<usize> {
        let place = match self.integers(position)? {
            Some(place) => place.cast_to_scalar::<i64>()?,
            None => default as i64,
        };
        let counted = if place < 0 { place + length as i64 } else { place };
        let counted = usize::try_from(counted).ok().filter(|place| *place < end);
        counted.ok_or_else(|| invalid(&format!("position {place} in a sequence of {length} tensors")))
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attribute.iter().find(|attribute| attribute.name == name).map_or(default, |found| found.i)
    }

    /// The attribute `axis` of tensors of that rank.
    fn axis(&self, rank: usize) -> TractResult<usize> {
        let axis = self.int("axis", 0);
        let counted = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis });
        counted
            .ok()
            .filter(|axis| *axis < rank)
            .ok_or_else(|| invalid(&format!("axis {axis} of a tensor of rank {rank}")))
    }

    fn split(&mut self) -> TractResult<Vec<OutletId>> {
        let tensor = self.tensor(0)?;
        let shape = self.composer.shape(tensor)?;
        let axis = self.axis(shape.len())?;
        let given = self.integers(1)?;
        let sizes: Vec<i64> = match &given {
            Some(sizes) if sizes.rank() == 1 => sizes.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec(),
            _ => {
                let size = shape[axis].to_i64().map_err(|_| unsupported("how many parts there are is not known"))?;
                let part = given.as_ref().map_or(Ok(1), |part| part.cast_to_scalar::<i64>())?;
                ensure!(part > 0, "parts of {part} elements");
                (0..size).step_by(part as usize).map(|start| part.min(size - start)).collect()
            }
        };
        let total = sizes.iter().sum::<i64>();
        if sizes.iter().any(|size| *size < 0) || shape[axis].to_i64().is_ok_and(|size| size != total) {
            return Err(invalid(&format!("parts of {sizes:?} elements of an axis of {}", shape[axis])));
        }
        let mut start = 0;
        let mut parts = vec![];
        for size in sizes {
            let slice = Slice { axis, start: start.to_dim(), end: (start + size).to_dim() };
            let part = self.composer.wire(slice, &[tensor])?;
            let keep = given.is_some() || self.int("keepdims", 1) != 0;
            parts.push(if keep { part } else { self.composer.wire(AxisOp::Rm(axis), &[part])? });
            start += size;
        }
        Ok(parts)
    }

    fn concat(&mut self) -> TractResult<OutletId> {
        let mut tensors = self.sequence(0)?;
        let Some(first) = tensors.first() else { return Err(invalid("the sequence is empty")) };
        let stacked = self.int("new_axis", 0) != 0;
        let axis = self.axis(self.composer.fact(*first)?.rank() + stacked as usize)?;
        if stacked {
            for tensor in &mut tensors {
                *tensor = self.composer.wire(AxisOp::Add(axis), &[*tensor])?;
            }
        }
        self.composer.wire(TypedConcat { axis }, &tensors)
    }
}

fn invalid(message: &str) -> TractError {
    Error::invalid_model(message).into()
}

fn unsupported(message: &str) -> TractError {
    Error::unsupported_op(message).remedy("export the model with tensors in place of sequences").into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{graph, int64s, node, run, value, with_int};
    use crate::error::ErrorCode;
    use tract_onnx::pb::NodeProto;
    use tract_onnx::pb::tensor_proto::DataType::Int64;
    use tract_onnx::prelude::{IntoTValue, tensor1};

    struct Case {
        what: &'static str,
        nodes: Vec<NodeProto>,
        expected: Result<(&'static [usize], &'static [i64]), ErrorCode>,
    }

    /// Nodes that compute `y` of the sequence `s`, which holds `x`, `x + x` and `x`; `0`, `1` and `-1` are constants.
    fn case(
        what: &'static str,
        nodes: Vec<NodeProto>,
        expected: Result<(&'static [usize], &'static [i64]), ErrorCode>,
    ) -> Case {
        Case { what, nodes, expected }
    }

    fn cases() -> Vec<Case> {
        const INVALID: Result<(&[usize], &[i64]), ErrorCode> = Err(ErrorCode::InvalidModel);
        let concat = |sequence: &str| with_int(node("ConcatFromSequence", &[sequence], &["y"]), "axis", 0);
        let split = |inputs: &[&str]| with_int(node("SplitToSequence", inputs, &["t"]), "axis", 0);
        vec![
            case("the last", vec![node("SequenceAt", &["s", "-1"], &["y"])], Ok((&[2], &[5, 7]))),
            case("the second", vec![node("SequenceAt", &["s", "1"], &["y"])], Ok((&[2], &[10, 14]))),
            case("beyond the end", vec![node("SequenceAt", &["s", "3"], &["y"])], INVALID),
            case(
                "a place that is not constant",
                vec![node("SequenceAt", &["s", "x"], &["y"])],
                Err(ErrorCode::UnsupportedOp),
            ),
            case("a tensor", vec![node("SequenceAt", &["x", "1"], &["y"])], INVALID),
            case("the length", vec![node("SequenceLength", &["s"], &["y"])], Ok((&[], &[3]))),
            case(
                "without the last",
                vec![node("SequenceErase", &["s"], &["t"]), concat("t")],
                Ok((&[4], &[5, 7, 10, 14])),
            ),
            case(
                "added before the last",
                vec![node("SequenceInsert", &["s", "1", "-1"], &["t"]), concat("t")],
                Ok((&[7], &[5, 7, 10, 14, 1, 5, 7])),
            ),
            case(
                "added to none",
                vec![node("SequenceEmpty", &[], &["e"]), node("SequenceInsert", &["e", "x"], &["t"]), concat("t")],
                Ok((&[2], &[5, 7])),
            ),
            case("none", vec![node("SequenceEmpty", &[], &["e"]), concat("e")], INVALID),
            case("stacked", vec![with_int(concat("s"), "new_axis", 1)], Ok((&[3, 2], &[5, 7, 10, 14, 5, 7]))),
            case("split into ones", vec![split(&["x"]), node("SequenceAt", &["t", "1"], &["y"])], Ok((&[1], &[7]))),
            case(
                "split into ones without the axis",
                vec![with_int(split(&["x"]), "keepdims", 0), node("SequenceAt", &["t", "1"], &["y"])],
                Ok((&[], &[7])),
            ),
            case("split by a size", vec![split(&["x", "3"]), concat("t")], Ok((&[2], &[5, 7]))),
            case(
                "split by sizes",
                vec![split(&["x", "1 1"]), node("SequenceAt", &["t", "0"], &["y"])],
                Ok((&[1], &[5])),
            ),
            case("split by other sizes", vec![split(&["x", "1"]), concat("t")], INVALID),
            case(
                "an optional value",
                vec![node("Optional", &["x"], &["o"]), node("OptionalGetElement", &["o"], &["y"])],
                Ok((&[2], &[5, 7])),
            ),
            case(
                "no optional value",
                vec![node("Optional", &[], &["o"]), node("OptionalGetElement", &["o"], &["y"])],
                INVALID,
            ),
            case(
                "whether there is an optional value",
                vec![
                    node("Optional", &[], &["o"]),
                    node("OptionalHasElement", &["o"], &["no"]),
                    node("OptionalHasElement", &["s"], &["yes"]),
                    node("Where", &["no", "1", "0"], &["a"]),
                    node("Where", &["yes", "1", "0"], &["b"]),
                    with_int(node("Concat", &["a", "b"], &["y"]), "axis", 0),
                ],
                Ok((&[2], &[0, 1])),
            ),
            case("a sequence as output", vec![node("Identity", &["s"], &["y"])], Err(ErrorCode::UnsupportedOp)),
        ]
    }

    #[test]
    fn sequences() {
        for case in cases() {
            let constants = vec![
                int64s("0", &[1], &[0]),
                int64s("1", &[1], &[1]),
                int64s("-1", &[], &[-1]),
                int64s("3", &[], &[3]),
                int64s("1 1", &[2], &[1, 1]),
            ];
            let sequence =
                vec![node("Add", &["x", "x"], &["x2"]), node("SequenceConstruct", &["x", "x2", "x"], &["s"])];
            let nodes = sequence.into_iter().chain(case.nodes).collect();
            let whole = graph(vec![value("x", Int64, &[2])], constants, nodes, vec![value("y", Int64, &[])]);
            let outputs = run(whole, &[], &[tensor1(&[5i64, 7]).into_tvalue()]);
            let actual = outputs
                .as_ref()
                .map(|outputs| (outputs[0].shape(), outputs[0].try_as_plain_ram().unwrap().as_slice::<i64>().unwrap()));
            assert_eq!(actual.map_err(|error| error.code), case.expected, "{}", case.what);
        }
    }
}
