//! Graphs that are long, wide or deep: they load in a time that grows with the file, on a stack of WebAssembly's size, or are
//! refused at once.

mod common;

use common::fixtures::{Outcome, guarded};
use common::graphs::{node, value};
use prost::Message;
use sottovoce::error::{ErrorCode, Result};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::pb::attribute_proto::AttributeType;
use sottovoce::onnx::pb::tensor_proto::DataType;
use sottovoce::onnx::pb::{self, AttributeProto, GraphProto, NodeProto, TensorProto};
use sottovoce::tensor::{Tensor, TensorData};
use std::time::{Duration, Instant};

/// About 2 s on an idle machine; this one may be busy.
const LIMIT: Duration = Duration::from_secs(20);

struct Case {
    what: &'static str,
    graph: fn() -> GraphProto,
    /// What comes of `x = [1, 2]` and `c = true`.
    expected: std::result::Result<&'static [f32], ErrorCode>,
}

const CASES: &[Case] = &[
    Case {
        what: "10,000 sums",
        graph: || chain(10_000, |_, from, to| node("Add", &[from, "one"], &[to])),
        expected: Ok(&[10_001., 10_002.]),
    },
    Case {
        what: "100,000 copies",
        graph: || chain(100_000, |_, from, to| node("Identity", &[from], &[to])),
        expected: Err(ErrorCode::UnsupportedOp),
    },
    Case {
        what: "10,000 sums with an input",
        graph: || chain(10_000, |_, from, to| node("Add", &[from, "x"], &[to])),
        expected: Ok(&[10_001., 20_002.]),
    },
    Case {
        what: "10,000 nodes of one name",
        graph: || chain(10_000, |_, from, to| named("n", node("Neg", &[from], &[to]))),
        expected: Ok(&[1., 2.]),
    },
    Case {
        what: "10,000 products with a number",
        graph: || chain(10_000, |_, from, to| node("Mul", &[from, "half"], &[to])),
        expected: Ok(&[0., 0.]),
    },
    Case { what: "10,000 operators on what is rounded", graph: rounded, expected: Ok(&[1., 1.]) },
    Case { what: "a product of what is doubled 40 times", graph: doubled, expected: Ok(&[1., 2.]) },
    Case { what: "5000 constants", graph: constants, expected: Ok(&[1., 2.]) },
    Case {
        what: "1000 branches chosen at run time",
        graph: || chain(1000, |_, from, to| branches("d", from, to)),
        expected: Ok(&[1001., 1002.]),
    },
    Case {
        what: "1000 branches chosen by an input",
        graph: || chain(1000, |_, from, to| branches("c", from, to)),
        expected: Ok(&[1001., 1002.]),
    },
    Case { what: "a sum of 4096", graph: || wide(4096), expected: Ok(&[4096., 8192.]) },
    Case { what: "a sum of 100,000", graph: || wide(100_000), expected: Err(ErrorCode::UnsupportedOp) },
    Case { what: "100,000 inputs", graph: inputs, expected: Err(ErrorCode::UnsupportedOp) },
    Case { what: "branches in branches, 25 deep", graph: || deep(25), expected: Ok(&[27., 28.]) },
    Case { what: "branches in branches, 1000 deep", graph: || deep(1000), expected: Err(ErrorCode::InvalidModel) },
    Case { what: "loops in loops, 20 deep", graph: || loops(20), expected: Err(ErrorCode::UnsupportedOp) },
    Case {
        what: "a size of 3000 steps",
        graph: || sizes(3000, &["Add", "Div"]),
        expected: Err(ErrorCode::UnsupportedOp),
    },
    Case {
        what: "a size that is squared 60 times",
        graph: || sizes(60, &["Mul"]),
        expected: Err(ErrorCode::UnsupportedOp),
    },
    Case { what: "long names in branches", graph: long_names, expected: Ok(&[1001., 1002.]) },
];

#[test]
fn long_graphs_load_at_once() {
    let only = std::env::var("LONG_GRAPHS").unwrap_or_default();
    let mut complaints = Vec::new();
    for case in CASES.iter().filter(|case| case.what.contains(&*only)) {
        let bytes = on_large_stack(|| model((case.graph)()));
        let start = Instant::now();
        let expected = case.expected;
        let outcome = guarded(bytes, LIMIT, move |bytes| {
            let actual = load_and_run(&bytes);
            let found = actual.as_deref().map_err(|error| error.code);
            match found == expected {
                true => Outcome::Right,
                false => Outcome::Wrong(format!("{:?}", actual.map_err(|error| error.to_string()))),
            }
        });
        println!("{}: {:?}", case.what, start.elapsed());
        if outcome != Outcome::Right {
            complaints.push(format!("{}: {outcome:?}", case.what));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// prost writes and drops nested graphs recursively.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let builder = std::thread::Builder::new().stack_size(256 << 20);
    std::thread::scope(|scope| builder.spawn_scoped(scope, work).expect("a thread").join().expect("no panic"))
}

fn load_and_run(bytes: &[u8]) -> Result<Vec<f32>> {
    let start = Instant::now();
    let mut session = pollster::block_on(Session::load(&("long", bytes), &[], DevicePreference::Cpu, &Uninterrupted))?;
    println!("  loaded after {:?}", start.elapsed());
    let feeds =
        [("x".to_string(), Tensor::new(&[2], vec![1f32, 2.])?), ("c".to_string(), Tensor::new(&[], vec![true])?)];
    let outputs = pollster::block_on(session.run(&feeds, &[], &Uninterrupted))?;
    match outputs[0].1.data() {
        TensorData::Float32(data) => Ok(data.clone()),
        other => panic!("{other:?}"),
    }
}

fn model(graph: GraphProto) -> Vec<u8> {
    let opset_import = vec![pb::OperatorSetIdProto { version: 18, ..Default::default() }];
    pb::ModelProto { ir_version: 8, opset_import, graph: Some(graph) }.encode_to_vec()
}

fn named(name: &str, node: NodeProto) -> NodeProto {
    NodeProto { name: name.into(), ..node }
}

fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    let r#type = AttributeType::Graph as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type, g: Some(graph), ..Default::default() });
    node
}

fn float(name: &str, value: f32) -> TensorProto {
    let data_type = DataType::Float as i32;
    TensorProto { name: name.into(), data_type, float_data: vec![value], ..Default::default() }
}

fn int(name: &str, value: i64) -> TensorProto {
    TensorProto { name: name.into(), data_type: DataType::Int64 as i32, int64_data: vec![value], ..Default::default() }
}

/// Inputs `x`, of floats, and `c`, a boolean; `d` is computed as `c`, and output is `y`.
fn graph(mut nodes: Vec<NodeProto>) -> GraphProto {
    nodes.insert(0, node("Not", &["c"], &["not"]));
    nodes.insert(1, node("Not", &["not"], &["d"]));
    GraphProto {
        name: "graph".into(),
        input: vec![value("x", DataType::Float, &["n"]), value("c", DataType::Bool, &[])],
        initializer: vec![float("one", 1.), float("half", 0.5), int("two", 2)],
        node: nodes,
        output: vec![value("y", DataType::Float, &["n"])],
        ..Default::default()
    }
}

fn subgraph(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
    let output = vec![pb::ValueInfoProto { name: output.into(), ..Default::default() }];
    GraphProto { name: "subgraph".into(), node: nodes, output, ..Default::default() }
}

/// From `x` to `y` in so many steps.
fn chain(length: usize, step: fn(usize, &str, &str) -> NodeProto) -> GraphProto {
    let name = |at: usize| match at {
        0 => "x".to_string(),
        at if at == length => "y".into(),
        at => format!("t{at}"),
    };
    graph((0..length).map(|at| step(at, &name(at), &name(at + 1))).collect())
}

/// Sums with 1, -1, 2, -2, …, each constant its own.
fn constants() -> GraphProto {
    let mut graph = chain(5000, |at, from, to| node("Add", &[from, &format!("c{at}")], &[to]));
    graph.initializer.extend(
        (0..5000).map(|at| float(&format!("c{at}"), (at / 2 + 1) as f32 * if at % 2 == 0 { 1.0 } else { -1.0 })),
    );
    graph
}

/// tanh(x), to integers and back, with other roundings and an even number of negations between.
fn rounded() -> GraphProto {
    let mut graph = chain(10_005, |at, from, to| match at {
        0 | 10_003 => node("QuantizeLinear", &[from, "one", "zero"], &[to]),
        1 | 10_004 => node("DequantizeLinear", &[from, "one", "zero"], &[to]),
        2 => node("Tanh", &[from], &[to]),
        _ => node("Neg", &[from], &[to]),
    });
    graph.initializer.push(TensorProto {
        name: "zero".into(),
        data_type: DataType::Uint8 as i32,
        int32_data: vec![0],
        ..Default::default()
    });
    graph
}

/// `x · p / p`, where `p` is the product of two rows that are sums of themselves.
fn doubled() -> GraphProto {
    let mut nodes = vec![node("Unsqueeze", &["x", "first"], &["t0"])];
    nodes.extend((0..40).map(|at| {
        let operand = format!("t{at}");
        node("Add", &[&operand, &operand], &[&format!("t{}", at + 1)])
    }));
    nodes.push(node("Transpose", &["t40"], &["column"]));
    nodes.push(node("MatMul", &["t40", "column"], &["p"]));
    nodes.push(node("Mul", &["x", "p"], &["product"]));
    nodes.push(node("Div", &["product", "p"], &["row"]));
    nodes.push(node("Squeeze", &["row", "first"], &["y"]));
    let mut graph = graph(nodes);
    graph.initializer.push(TensorProto { dims: vec![1], ..int("first", 0) });
    graph
}

/// One more, or one less.
fn branches(condition: &str, from: &str, to: &str) -> NodeProto {
    let branch = |op_type: &str| subgraph(vec![node(op_type, &[from, "one"], &["out"])], "out");
    with_graph(with_graph(node("If", &[condition], &[to]), "then_branch", branch("Add")), "else_branch", branch("Sub"))
}

fn wide(operands: usize) -> GraphProto {
    graph(vec![node("Sum", &vec!["x"; operands], &["y"])])
}

fn inputs() -> GraphProto {
    let mut graph = graph(vec![node("Identity", &["x"], &["y"])]);
    graph.input.extend((0..100_000).map(|at| value(&format!("x{at}"), DataType::Float, &["n"])));
    graph
}

fn deep(depth: usize) -> GraphProto {
    let innermost = subgraph(vec![node("Add", &["x", "one"], &["y0"])], "y0");
    let nested = |inner: GraphProto, level: usize| {
        let (name, inner_name) = (format!("y{level}"), format!("a{level}"));
        let choice = with_graph(node("If", &["d"], &[&inner_name]), "then_branch", inner.clone());
        let other = subgraph(vec![node("Identity", &["x"], &["z"])], "z");
        let choice = with_graph(choice, "else_branch", other);
        subgraph(vec![choice, node("Add", &[&inner_name, "one"], &[&name])], &name)
    };
    let mut whole = graph((1..=depth).fold(innermost, nested).node);
    whole.output[0].name = format!("y{depth}");
    whole
}

/// Loops whose states grow, so that each must be translated twice to see what stays.
fn loops(depth: usize) -> GraphProto {
    let nested = |inner: Vec<NodeProto>, level: usize| {
        let from = format!("s{level}");
        let to = format!("e{level}");
        let mut nodes = inner;
        nodes.push(node("Concat", &[&format!("e{}", level - 1), &from], &[&to]));
        nodes.last_mut().unwrap().attribute.push(AttributeProto {
            name: "axis".into(),
            r#type: AttributeType::Int as i32,
            ..Default::default()
        });
        nodes.push(node("Identity", &["c"], &[&format!("g{level}")]));
        let mut body = subgraph(nodes, &format!("g{level}"));
        body.output.push(pb::ValueInfoProto { name: to, ..Default::default() });
        let input = |name: String| pb::ValueInfoProto { name, ..Default::default() };
        body.input = vec![input(format!("i{level}")), input(format!("w{level}")), input(from.clone())];
        let outer = format!("s{}", level + 1);
        vec![with_graph(node("Loop", &["two", "", &outer], &[&format!("e{level}")]), "body", body)]
    };
    let mut nodes = (1..=depth).fold(vec![node("Identity", &["s1"], &["e0"])], nested);
    nodes[0].input[2] = "x".into();
    let mut whole = graph(nodes);
    whole.output[0].name = format!("e{depth}");
    whole
}

/// A size that is computed in many steps, and then given to `x`.
fn sizes(steps: usize, operators: &[&str]) -> GraphProto {
    let mut nodes = vec![node("Size", &["x"], &["n0"])];
    for step in 0..steps {
        let (from, to) = (format!("n{step}"), format!("n{}", step + 1));
        let operator = operators[step % operators.len()];
        let right = if operator == "Mul" { &*from } else { "two" };
        nodes.push(node(operator, &[&from, right], &[&to]));
    }
    nodes.push(node("CastLike", &[&format!("n{steps}"), "x"], &["number"]));
    nodes.push(node("Add", &["x", "number"], &["y"]));
    graph(nodes)
}

fn long_names() -> GraphProto {
    let long = "n".repeat(100_000);
    let mut nodes = vec![node("Identity", &["x"], &["t0"])];
    for at in 0..1000 {
        nodes.push(named("short", node("Add", &[&format!("t{at}"), "one"], &[&format!("t{}", at + 1)])));
    }
    let inner = subgraph(nodes, "t1000");
    let other = subgraph(vec![node("Identity", &["x"], &["z"])], "z");
    let choice = with_graph(with_graph(node("If", &["c"], &["y"]), "then_branch", inner), "else_branch", other);
    graph(vec![named(&long, choice)])
}
