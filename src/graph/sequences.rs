//! ONNX's sequences of tensors and optional values: `SequenceConstruct`, `SequenceEmpty`, `SequenceInsert`, `SequenceErase`, `SequenceAt`,
//! `SequenceLength`, `SplitToSequence`, `ConcatFromSequence` (11 to 24), `Optional`, `OptionalHasElement`, `OptionalGetElement` (15 to 28).
//! They are resolved while the graph is translated, and at run time there are only tensors. So positions and lengths must be
//! constant, a sequence has 1024 tensors at most, and a loop, a branch or the graph itself takes and gives tensors only.

use super::translate::{Translation, cause};
use crate::error::{Error, Result};
use crate::onnx::pb::NodeProto;
use crate::ops::KnownSizes;
use tract_core::internal::*;
use tract_core::ops::array::{Slice, TypedConcat};

/// Tensors of a sequence: each node that gives a sequence lists them.
const MOST_TENSORS: usize = 1024;
/// Elements along an axis. Beyond it is no size of anything.
const LONGEST_AXIS: i64 = i32::MAX as i64;

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
    /// The tensors that it is made of.
    pub(super) fn tensors(&self) -> &[OutletId] {
        match self {
            Value::Tensor(tensor) => std::slice::from_ref(tensor),
            Value::Sequence(tensors) => tensors,
            Value::Nothing => &[],
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
/// `UnsupportedOp` where a position or a length is not constant or a sequence is too long; `InvalidModel` for operands that the
/// operator does not take.
pub fn wire_sequence(translation: &mut Translation, name: &str, node: &NodeProto) -> Result<Value> {
    let inputs =
        node.input.iter().map(|input| if input.is_empty() { Ok(Value::Nothing) } else { translation.value(input) });
    let inputs = inputs.collect::<Result<Vec<Value>>>()?;
    Operator { node, name, inputs, translation }.wire().map_err(|error| cause(&error))
}

struct Operator<'a, 'b> {
    node: &'a NodeProto,
    name: &'a str,
    inputs: Vec<Value>,
    translation: &'a mut Translation<'b>,
}

impl Operator<'_, '_> {
    fn wire(mut self) -> TractResult<Value> {
        match &*self.node.op_type {
            "SequenceEmpty" => Ok(Value::Sequence(vec![])),
            "SequenceConstruct" => {
                refuse_too_many(self.inputs.len())?;
                let tensors = (0..self.inputs.len()).map(|position| self.tensor(position));
                tensors.collect::<TractResult<_>>().map(Value::Sequence)
            }
            "SequenceInsert" => {
                let (mut sequence, tensor) = (self.sequence(0)?, self.tensor(1)?);
                refuse_too_many(sequence.len() + 1)?;
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
                self.constant(tensor0(length)).map(Value::Tensor)
            }
            "SplitToSequence" => self.split().map(Value::Sequence),
            "ConcatFromSequence" => self.concat().map(Value::Tensor),
            "Optional" => Ok(self.inputs.pop().unwrap_or(Value::Nothing)),
            "OptionalHasElement" => {
                let is_there = !matches!(self.inputs.first(), None | Some(Value::Nothing));
                self.constant(tensor0(is_there)).map(Value::Tensor)
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

    fn fact(&self, outlet: OutletId) -> TractResult<&TypedFact> {
        self.translation.model().outlet_fact(outlet)
    }

    fn constant(&mut self, tensor: Tensor) -> TractResult<OutletId> {
        self.translation.builder.add_const(self.name, tensor.into_arc_tensor())
    }

    /// Wires an operator of one output.
    fn apply(&mut self, operator: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        let operator = operator.into();
        let name = format!("{}.{}", self.name, operator.name());
        Ok(self.translation.builder.wire_one(&name, operator, inputs)?[0])
    }

    /// The integers of an input, where it is there.
    fn integers(&self, position: usize) -> TractResult<Option<Arc<Tensor>>> {
        match self.inputs.get(position) {
            None | Some(Value::Nothing) => Ok(None),
            _ => {
                let constant = self.fact(self.tensor(position)?)?.konst.clone();
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
        let mut tensor = self.tensor(0)?;
        let shape = self.fact(tensor)?.shape.to_tvec();
        let axis = self.axis(shape.len())?;
        let given = self.integers(1)?;
        let sizes = part_sizes(&shape[axis], given.as_deref())?;
        let total = sizes.iter().sum::<i64>().to_dim();
        if shape[axis] != total {
            tensor = self.apply(KnownSizes { sizes: tvec!((axis, total)) }, &[tensor])?;
        }
        let keep = given.is_some() || self.int("keepdims", 1) != 0;
        let mut start = 0;
        let mut parts = vec![];
        for size in sizes {
            let slice = Slice { axis, start: start.to_dim(), end: (start + size).to_dim() };
            let part = self.apply(slice, &[tensor])?;
            parts.push(if keep { part } else { self.apply(AxisOp::Rm(axis), &[part])? });
            start += size;
        }
        Ok(parts)
    }

    fn concat(&mut self) -> TractResult<OutletId> {
        let mut tensors = self.sequence(0)?;
        let Some(first) = tensors.first() else { return Err(invalid("the sequence is empty")) };
        let rank = self.fact(*first)?.rank();
        let stacked = self.int("new_axis", 0) != 0;
        let axis = self.axis(rank + stacked as usize)?;
        for tensor in &mut tensors {
            if self.fact(*tensor)?.rank() != rank {
                return Err(invalid("the sequence's tensors are of different ranks"));
            }
            if stacked {
                *tensor = self.apply(AxisOp::Add(axis), &[*tensor])?;
            }
        }
        self.apply(TypedConcat { axis }, &tensors)
    }
}

/// The sizes of the parts of an axis of that size: those given, or else parts of one size, of which the last may be shorter.
fn part_sizes(axis: &TDim, given: Option<&Tensor>) -> TractResult<Vec<i64>> {
    if let Some(sizes) = given.filter(|given| given.rank() == 1) {
        return given_sizes(axis, sizes);
    }
    let size = axis.to_i64().map_err(|_| unsupported("how many parts there are is not known"))?;
    let part = given.map_or(Ok(1), |part| part.cast_to_scalar::<i64>())?;
    if part <= 0 {
        return Err(invalid(&format!("parts of {part} elements")));
    }
    let count = size / part + i64::from(size % part != 0);
    refuse_too_many(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok((0..count).map(|position| part.min(size - position * part)).collect())
}

/// The given sizes, which add up to the axis' where that is known.
fn given_sizes(axis: &TDim, given: &Tensor) -> TractResult<Vec<i64>> {
    refuse_too_many(given.volume())?;
    let sizes = given.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec();
    let is_size = |size: &i64| (0..=LONGEST_AXIS).contains(size);
    let add = |total: i64, size: &i64| if is_size(size) { Some(total + size).filter(is_size) } else { None };
    match sizes.iter().try_fold(0, add) {
        Some(total) if axis.to_i64().unwrap_or(total) == total => Ok(sizes),
        _ => Err(invalid(&format!("parts of {sizes:?} elements of an axis of {axis}"))),
    }
}

fn refuse_too_many(tensors: usize) -> TractResult<()> {
    if tensors <= MOST_TENSORS {
        return Ok(());
    }
    Err(unsupported(&format!("a sequence of more than {MOST_TENSORS} tensors is not supported")))
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
    use crate::onnx::pb::NodeProto;
    use crate::onnx::pb::tensor_proto::DataType::Int64;
    use tract_core::prelude::{IntoTValue, tensor1};

    struct Case {
        what: &'static str,
        nodes: Vec<NodeProto>,
        /// What the model says of the size of `x`; -1 is a symbol.
        size: i64,
        expected: Result<(&'static [usize], &'static [i64]), ErrorCode>,
    }

    /// Nodes that compute `y` of the sequence `s`, which holds `x`, `x + x` and `x`; `0`, `1`, `-1`, `3`, `1 1` and `many`, 1025
    /// ones, are constants.
    fn case(
        what: &'static str,
        nodes: Vec<NodeProto>,
        expected: Result<(&'static [usize], &'static [i64]), ErrorCode>,
    ) -> Case {
        Case { what, nodes, size: 2, expected }
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
            case(
                "a length that is a weight too",
                vec![
                    node("Add", &["3", "3"], &["six"]),
                    node("SequenceLength", &["s"], &["length"]),
                    node("Add", &["six", "3"], &["nine"]),
                    node("Add", &["nine", "length"], &["twelve"]),
                    node("Add", &["x", "twelve"], &["y"]),
                ],
                Ok((&[2], &[17, 19])),
            ),
        ]
    }

    fn cases_of_sizes() -> Vec<Case> {
        const TOO_MANY: Result<(&[usize], &[i64]), ErrorCode> = Err(ErrorCode::UnsupportedOp);
        let of_size = |size: i64, case: Case| Case { size, ..case };
        let split = |inputs: &[&str]| with_int(node("SplitToSequence", inputs, &["t"]), "axis", 0);
        let construct = |tensors: usize| node("SequenceConstruct", &vec!["x"; tensors], &["t"]);
        let first = || node("SequenceAt", &["t", "0"], &["y"]);
        let second = || node("SequenceAt", &["t", "1"], &["y"]);
        let length = |sequence: &str| node("SequenceLength", &[sequence], &["y"]);
        let insert = || node("SequenceInsert", &["t", "x"], &["u"]);
        vec![
            of_size(-1, case("sizes that add up when it runs", vec![split(&["x", "1 1"]), second()], Ok((&[1], &[7])))),
            of_size(
                -1,
                case(
                    "sizes that do not add up when it runs",
                    vec![split(&["x", "1"]), first()],
                    Err(ErrorCode::InvalidInput),
                ),
            ),
            of_size(-1, case("a symbol split into ones", vec![split(&["x"]), first()], Err(ErrorCode::UnsupportedOp))),
            case("as many as there may be", vec![construct(1024), length("t")], Ok((&[], &[1024]))),
            case("too many", vec![construct(1025), length("t")], TOO_MANY),
            case("one too many inserted", vec![construct(1024), insert(), length("u")], TOO_MANY),
            of_size(1025, case("split into too many", vec![split(&["x"]), length("t")], TOO_MANY)),
            of_size(1025, case("split by too many sizes", vec![split(&["x", "many"]), length("t")], TOO_MANY)),
            of_size(i32::MAX as i64 / 8, case("split into very many", vec![split(&["x"]), length("t")], TOO_MANY)),
        ]
    }

    #[test]
    fn sequences() {
        for case in cases().into_iter().chain(cases_of_sizes()) {
            let constants = vec![
                int64s("0", &[1], &[0]),
                int64s("1", &[1], &[1]),
                int64s("-1", &[], &[-1]),
                int64s("3", &[], &[3]),
                int64s("1 1", &[2], &[1, 1]),
                int64s("many", &[1025], &[1; 1025]),
            ];
            let sequence =
                vec![node("Add", &["x", "x"], &["x2"]), node("SequenceConstruct", &["x", "x2", "x"], &["s"])];
            let nodes = sequence.into_iter().chain(case.nodes).collect();
            let whole = graph(vec![value("x", Int64, &[case.size])], constants, nodes, vec![value("y", Int64, &[])]);
            let outputs = run(whole, &[], &[tensor1(&[5i64, 7]).into_tvalue()]);
            let actual = outputs
                .as_ref()
                .map(|outputs| (outputs[0].shape(), outputs[0].try_as_plain_ram().unwrap().as_slice::<i64>().unwrap()));
            assert_eq!(actual.map_err(|error| error.code), case.expected, "{}", case.what);
        }
    }
}
