//! ONNX `If`, `Loop` and `Scan`. A branch whose condition is known is translated in place; everything else runs its
//! subgraphs one by one, each planned for the sizes that it meets.

mod conditional;
mod iteration;
mod scan;

pub use conditional::wire_if;
pub use iteration::wire_loop;
pub use scan::wire_scan;

use super::builder::fresh_symbol;
use super::subgraph::{Argument, Subgraph, concrete, run_time_fact};
use super::translate::{Translation, cause};
use crate::error::{Error, Result};
use crate::onnx::pb::{GraphProto, NodeProto};
use std::collections::BTreeSet;
use tract_core::internal::*;

/// The subgraph that an attribute of the node holds.
fn body<'a>(node: &'a NodeProto, name: &str) -> Result<&'a GraphProto> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name == name);
    attribute
        .and_then(|attribute| attribute.g.as_ref())
        .ok_or_else(|| Error::invalid_model(format!("the subgraph `{name}` is missing")))
}

/// Positions of the outputs that somebody may read.
fn wanted(node: &NodeProto) -> Vec<usize> {
    (0..node.output.len()).filter(|position| !node.output[*position].is_empty()).collect()
}

/// Values that the subgraphs of a node may take from around them: they are inputs of it.
const MOST_CAPTURED: usize = 4096;

/// Values that subgraphs take from around them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Captured {
    names: Vec<String>,
}

impl Captured {
    /// What these graphs take, with the outlets that give it.
    fn new(translation: &mut Translation, names: BTreeSet<String>) -> Result<(Captured, TVec<OutletId>)> {
        if names.len() > MOST_CAPTURED {
            return Err(Error::unsupported_op(format!("its subgraphs use {} values from around them", names.len()))
                .remedy("export the model with its control flow inlined"));
        }
        let outlets = names.iter().map(|name| translation.outlet(name)).collect::<Result<_>>()?;
        Ok((Captured { names: names.into_iter().collect() }, outlets))
    }

    fn facts(&self, model: &TypedModel, outlets: &[OutletId]) -> TractResult<Vec<(String, TypedFact)>> {
        let fact = |(name, outlet): (&String, &OutletId)| Ok((name.clone(), model.outlet_fact(*outlet)?.clone()));
        self.names.iter().zip(outlets).map(fact).collect()
    }

    fn arguments(&self, values: &[TValue], context: &EvalContext) -> TractResult<Vec<Argument>> {
        let argument = |(name, value): (&String, &TValue)| {
            Ok(Argument { name: name.clone(), value: concrete(value, context)?, constant: false })
        };
        self.names.iter().zip(values).map(argument).collect()
    }
}

fn argument(name: &str, value: TValue) -> Argument {
    Argument { name: name.to_string(), value, constant: false }
}

/// Facts of values that a loop carries from one turn to the next: sizes that a turn changes are not known.
struct Carried {
    facts: TVec<TypedFact>,
    free: Vec<Vec<bool>>,
}

impl Carried {
    fn new(facts: TVec<TypedFact>) -> Carried {
        let facts: TVec<TypedFact> = facts.into_iter().map(run_time_fact).collect();
        let free = facts.iter().map(|fact| vec![false; fact.rank()]).collect();
        Carried { facts, free }
    }

    /// Frees the sizes that differ after a turn; says whether there were any.
    fn widen(&mut self, symbols: &SymbolScope, after: &[TypedFact]) -> TractResult<bool> {
        let mut widened = false;
        for ((before, free), after) in self.facts.iter_mut().zip(&mut self.free).zip(after) {
            if before.datum_type != after.datum_type || before.rank() != after.rank() {
                return Err(unsupported("a value changes its type or rank from one turn to the next"));
            }
            for (axis, free) in free.iter_mut().enumerate() {
                if !*free && before.shape[axis] != after.shape[axis] {
                    before.shape.set(axis, fresh_symbol(symbols, "carried").to_dim());
                    *free = true;
                    widened = true;
                }
            }
        }
        Ok(widened)
    }

    fn named(&self, names: &[String]) -> Vec<(String, TypedFact)> {
        names.iter().cloned().zip(self.facts.iter().cloned()).collect()
    }
}

/// The facts of a body's outputs once those of the carried values hold for every turn. `others` are the body's other inputs
/// and captured values; `first` is the position of the first carried value among the body's outputs.
fn settle(
    body: &Subgraph,
    symbols: &SymbolScope,
    carried: &mut Carried,
    names: &[String],
    others: &[(String, TypedFact)],
    first: usize,
) -> TractResult<TVec<TypedFact>> {
    loop {
        let mut inputs = carried.named(names);
        inputs.extend_from_slice(others);
        let outputs = body.output_facts(symbols, &inputs)?;
        if outputs.len() < first + names.len() {
            return Err(Error::invalid_model("the body has too few outputs").into());
        }
        if !carried.widen(symbols, &outputs[first..first + names.len()])? {
            return Ok(outputs);
        }
    }
}

/// The fact of `slice`s stacked along a new axis.
fn stacked_fact(symbols: &SymbolScope, slice: &TypedFact, axis: usize) -> TypedFact {
    let fresh = || fresh_symbol(symbols, "turns").to_dim();
    let mut shape: TVec<TDim> =
        slice.shape.iter().map(|dim| if dim.to_usize().is_ok() { dim.clone() } else { fresh() }).collect();
    shape.insert(axis, fresh());
    slice.datum_type.fact(shape)
}

/// The slices that the turns of a loop give.
struct Slices {
    outputs: Vec<Vec<TValue>>,
    bytes: usize,
}

impl Slices {
    /// None yet, of so many outputs.
    fn new(outputs: usize) -> Slices {
        Slices { outputs: vec![vec![]; outputs], bytes: 0 }
    }

    /// Adds a turn's slices.
    fn push(&mut self, slices: impl Iterator<Item = TValue>) -> TractResult<()> {
        const MOST_BYTES: usize = 512 << 20;
        for (output, slice) in self.outputs.iter_mut().zip(slices) {
            self.bytes = self.bytes.saturating_add(slice.volume() * slice.datum_type().size_of());
            output.push(slice);
        }
        if self.bytes <= MOST_BYTES {
            return Ok(());
        }
        Err(Error::out_of_memory("the slices of its turns take more than 512 MiB").remedy("use shorter inputs").into())
    }
}

/// Tensors stacked along a new axis; `empty` is what no tensors make.
fn stack(slices: Vec<TValue>, axis: usize, empty: &TypedFact) -> TractResult<TValue> {
    if slices.is_empty() {
        let mut shape: TVec<usize> = empty.shape.iter().map(|dim| dim.to_usize().unwrap_or(0)).collect();
        shape[axis] = 0;
        return Ok(Tensor::zero_dt(empty.datum_type, &shape)?.into_tvalue());
    }
    let mut tensors = vec![];
    for slice in slices {
        let mut tensor = slice.into_tensor();
        tensor.insert_axis(axis)?;
        tensors.push(tensor);
    }
    Ok(Tensor::stack_tensors(axis, &tensors)?.into_tvalue())
}

fn unsupported(message: &str) -> TractError {
    Error::unsupported_op(message).remedy("export the model without this use of the operator").into()
}

fn wired(outlets: TractResult<TVec<OutletId>>) -> Result<TVec<OutletId>> {
    outlets.map_err(|error| cause(&error))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{graph, int64s, node, run, value, with_graph, with_int, with_ints};
    use crate::error::ErrorCode;
    use crate::onnx::pb::tensor_proto::DataType::{Bool, Int64};
    use crate::onnx::pb::{GraphProto, NodeProto};
    use tract_core::prelude::{IntoTValue, TValue, Tensor, tensor0, tensor1};

    type Choice = &'static [(usize, bool)];
    type Outputs = Vec<(Vec<usize>, Vec<i64>)>;

    struct Case {
        what: &'static str,
        graph: GraphProto,
        choice: Choice,
        inputs: Vec<TValue>,
        expected: Result<Outputs, ErrorCode>,
    }

    /// A graph without inputs of its own that combines `x` and `one`.
    fn branch(op_type: &str) -> GraphProto {
        graph(vec![], vec![], vec![node(op_type, &["x", "one"], &["out"])], vec![value("out", Int64, &[-1])])
    }

    /// `condition ? x + 1 : x - 1`
    fn conditional(condition: &str, before: Vec<NodeProto>) -> GraphProto {
        let choose = with_graph(node("If", &[condition], &["y"]), "then_branch", branch("Add"));
        let choose = with_graph(choose, "else_branch", branch("Sub"));
        let inputs = vec![value("c", Bool, &[]), value("x", Int64, &[-1])];
        let nodes = before.into_iter().chain([choose]).collect();
        graph(inputs, vec![int64s("one", &[], &[1])], nodes, vec![value("y", Int64, &[-1])])
    }

    /// Adds `x` to a state of its size, or appends it, while the turn is not the third; gives the turns' numbers too.
    fn turning(op_type: &str, limit: &str) -> GraphProto {
        let step = node(op_type, &["state", "x"], &["next"]);
        let step = if op_type == "Concat" { with_int(step, "axis", 0) } else { step };
        let inner = vec![step, node("Less", &["turn", "two"], &["going"]), node("Identity", &["turn"], &["slice"])];
        let body = graph(
            vec![value("turn", Int64, &[]), value("was_going", Bool, &[]), value("state", Int64, &[-1])],
            vec![int64s("two", &[], &[2])],
            inner,
            vec![value("going", Bool, &[]), value("next", Int64, &[-1]), value("slice", Int64, &[])],
        );
        let turn = with_graph(node("Loop", &[limit, "", "x"], &["y", "turns"]), "body", body);
        let outputs = vec![value("y", Int64, &[-1]), value("turns", Int64, &[-1])];
        graph(vec![value("n", Int64, &[]), value("x", Int64, &[-1])], vec![], vec![turn], outputs)
    }

    /// Running sums of the rows of `x`, from the last row on where `backwards`.
    fn scanning(backwards: bool) -> GraphProto {
        let inner = vec![node("Add", &["sum", "row"], &["next"]), node("Identity", &["next"], &["slice"])];
        let body = graph(
            vec![value("sum", Int64, &[2]), value("row", Int64, &[2])],
            vec![],
            inner,
            vec![value("next", Int64, &[2]), value("slice", Int64, &[2])],
        );
        let scan = with_int(node("Scan", &["start", "x"], &["y", "sums"]), "num_scan_inputs", 1);
        let scan = with_ints(scan, "scan_input_directions", &[backwards as i64]);
        let inputs = vec![value("x", Int64, &[-1, 2])];
        let outputs = vec![value("y", Int64, &[2]), value("sums", Int64, &[-1, 2])];
        graph(inputs, vec![int64s("start", &[2], &[0, 0])], vec![with_graph(scan, "body", body)], outputs)
    }

    fn cases() -> Vec<Case> {
        let x = || tensor1(&[5i64, 7]).into_tvalue();
        let is = |condition: bool| tensor0(condition).into_tvalue();
        let limit = |turns: i64| tensor0(turns).into_tvalue();
        let rows = || Tensor::from_shape(&[3, 2], &[1i64, 2, 3, 4, 5, 6]).unwrap().into_tvalue();
        let not = || vec![node("Not", &["c"], &["d"])];
        let one = |values: &[i64]| Ok(vec![(vec![values.len()], values.to_vec())]);
        let two = |left: &[i64], turns: &[i64]| {
            Ok(vec![(vec![left.len()], left.to_vec()), (vec![turns.len()], turns.to_vec())])
        };
        let case = |what, graph, choice, inputs, expected| Case { what, graph, choice, inputs, expected };
        vec![
            case("an input chooses", conditional("c", vec![]), &[(0, true)], vec![is(true), x()], one(&[6, 8])),
            case("an input chooses not", conditional("c", vec![]), &[(0, false)], vec![is(false), x()], one(&[4, 6])),
            case("chosen at run time", conditional("d", not()), &[], vec![is(false), x()], one(&[6, 8])),
            case("not chosen at run time", conditional("d", not()), &[], vec![is(true), x()], one(&[4, 6])),
            case("the limit ends it", turning("Add", "n"), &[], vec![limit(2), x()], two(&[15, 21], &[0, 1])),
            case("the condition ends it", turning("Add", "n"), &[], vec![limit(9), x()], two(&[20, 28], &[0, 1, 2])),
            case("no limit", turning("Add", ""), &[], vec![limit(0), x()], two(&[20, 28], &[0, 1, 2])),
            case("no turn", turning("Add", "n"), &[], vec![limit(0), x()], two(&[5, 7], &[])),
            case("a growing state", turning("Concat", "n"), &[], vec![limit(1), x()], two(&[5, 7, 5, 7], &[0])),
            case(
                "forwards",
                scanning(false),
                &[],
                vec![rows()],
                Ok(vec![(vec![2], vec![9, 12]), (vec![3, 2], vec![1, 2, 4, 6, 9, 12])]),
            ),
            case(
                "backwards",
                scanning(true),
                &[],
                vec![rows()],
                Ok(vec![(vec![2], vec![9, 12]), (vec![3, 2], vec![5, 6, 8, 10, 9, 12])]),
            ),
        ]
    }

    #[test]
    fn branches_and_turns() {
        for case in cases() {
            let outputs = run(case.graph, case.choice, &case.inputs);
            let values = |output: &TValue| {
                let elements = output.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap().to_vec();
                (output.shape().to_vec(), elements)
            };
            let actual = outputs.map(|outputs| outputs.iter().map(values).collect::<Vec<_>>());
            assert_eq!(actual.map_err(|error| error.code), case.expected, "{}", case.what);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut endless = turning("Add", "");
        let body = endless.node[0].attribute[0].g.as_mut().unwrap();
        body.node[1] = node("Equal", &["turn", "turn"], &["going"]);
        let mut retyped = turning("Add", "n");
        let body = retyped.node[0].attribute[0].g.as_mut().unwrap();
        body.node[0] = node("Equal", &["state", "x"], &["next"]);
        let mut without_body = turning("Add", "n");
        without_body.node[0].attribute.clear();
        let cases = [
            ("it does not end", endless, ErrorCode::UnsupportedOp),
            ("a state changes its type", retyped, ErrorCode::UnsupportedOp),
            ("no body", without_body, ErrorCode::InvalidModel),
        ];
        for (what, graph, expected) in cases {
            let inputs = [tensor0(1i64).into_tvalue(), tensor1(&[5i64, 7]).into_tvalue()];
            assert_eq!(run(graph, &[], &inputs).unwrap_err().code, expected, "{what}");
        }
    }
}
