//! docs/operators.md says of every operator what the code says. `UPDATE_EXPECT=1 cargo test --test operators` writes it anew.
//!
//! What it is made of: each file of src/graph/operators (its opening words, the attributes that it reads, the ops that it wires), and the
//! node tests with what is known to be refused of them.

mod common;

use common::fixtures::{manifest, unpacked};
use common::folder;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A file of src/graph/operators.
struct OperatorFile {
    /// Opening words, with line breaks as spaces.
    description: String,
    /// Code without comments and tests.
    code: String,
}

/// What is known of an operator, by its type with its domain when that is not ONNX's own.
#[derive(Default)]
struct Operator {
    description: Option<String>,
    attributes: BTreeSet<String>,
    ops: BTreeSet<String>,
    tests: usize,
    tests_right: usize,
    opsets: BTreeSet<i64>,
    dtypes: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<NodeTest>,
}

#[derive(Deserialize)]
struct NodeTest {
    name: String,
    op: String,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    expanded: bool,
    opset: i64,
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    dtype: String,
}

#[test]
fn the_list_of_operators_is_up_to_date() {
    let file = folder("docs/operators.md");
    let text = render(&operators());
    if std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1") {
        std::fs::write(&file, &text).expect("docs/operators.md is written");
    }
    let present = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(present == text, "docs/operators.md is out of date: run UPDATE_EXPECT=1 cargo test --test operators");
}

fn operators() -> BTreeMap<String, Operator> {
    let mut operators: BTreeMap<String, Operator> = BTreeMap::new();
    for name in CONTROL_FLOW {
        operators.entry(name.to_string()).or_default();
    }
    let files = operator_files();
    let defines_convolution = |file: &&OperatorFile| names(&file.code).contains("Conv");
    let convolution = files.iter().find(defines_convolution).map(|file| attributes(&file.code)).unwrap_or_default();
    for file in &files {
        let mut attributes = attributes(&file.code);
        if file.code.contains("super::conv::ATTRIBUTES") {
            attributes.extend(convolution.iter().cloned());
        }
        for name in names(&file.code) {
            let operator = operators.entry(name).or_default();
            operator.description = Some(file.description.clone());
            operator.attributes = attributes.clone();
            operator.ops = ops(&file.code);
        }
    }
    add_node_tests(&mut operators);
    operators
}

fn operator_files() -> Vec<OperatorFile> {
    let folder = folder("src/graph/operators");
    let entries = std::fs::read_dir(&folder).expect("src/graph/operators is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let source = std::fs::read_to_string(path).expect("a source file");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = |keep: fn(&&str) -> bool| source.lines().filter(keep).collect::<Vec<_>>();
        let opening = lines(|line| line.starts_with("//!"));
        let words: Vec<&str> = opening.iter().map(|line| line.trim_start_matches("//!").trim()).collect();
        OperatorFile {
            description: without_links(words.join(" ").trim()),
            code: lines(|line| !line.trim_start().starts_with("//")).join("\n"),
        }
    };
    paths.iter().filter(|path| !path.ends_with("mod.rs")).map(read).collect()
}

/// Prose without the links of rustdoc.
fn without_links(text: &str) -> String {
    let mut parts = text.split("[`");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (name, rest) = part.split_once("`]").unwrap_or((part, ""));
        let rest = rest.strip_prefix('(').and_then(|target| target.split_once(')')).map_or(rest, |(_, rest)| rest);
        plain += &format!("`{name}`{rest}");
    }
    plain
}

/// What stands in the first parentheses of a description, where these are opsets.
fn opsets(description: &str) -> &str {
    let inside =
        description.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    if inside.starts_with(|first: char| first.is_ascii_digit()) { inside } else { "" }
}

/// The opsets that are read, as src/onnx/validate.rs says.
fn read_opsets() -> String {
    let source = std::fs::read_to_string(folder("src/onnx/validate.rs")).expect("a source file");
    let line =
        source.lines().find(|line| line.starts_with("const OPSETS")).expect("validate.rs says which opsets are read");
    line.trim_end_matches(';').split("= ").last().unwrap_or_default().replace("..=", " to ")
}

/// The operators of a file: what `OPERATOR` is, what a macro that defines it is given, or what the rows of `OPERATORS` begin with.
fn names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in code.lines() {
        let is_definition = line.contains("const OPERATOR");
        let is_macro_use = code.contains("const OPERATOR: &'static str = $") && line.contains('"');
        let is_row = code.contains("const OPERATORS: &[") && line.trim_start().starts_with("(\"");
        if let (true, Some(name)) = (is_definition || is_macro_use || is_row, quoted(line).first()) {
            let last = name.rsplit('.').next().unwrap_or_default();
            if last.starts_with(|first: char| first.is_ascii_uppercase()) {
                names.insert(name.to_string());
            }
        }
    }
    names
}

/// The attributes that the code asks a node for or allows it to have.
fn attributes(code: &str) -> BTreeSet<String> {
    let flat = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for part in flat.split("(node, ").skip(1).chain(flat.split("const ATTRIBUTES: &[&str] = ").skip(1)) {
        let asked = match part.strip_prefix("&[") {
            Some(list) => list.split(']').next().unwrap_or_default(),
            None => part.split([',', ')']).next().unwrap_or_default(),
        };
        found.extend(quoted(asked).into_iter().map(str::to_string));
    }
    found
}

/// The types of [`sottovoce::ops`] that the code names.
fn ops(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in code.split("crate::ops::").skip(1) {
        let named = match part.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => part.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default(),
        };
        let names = named.split(',').filter_map(|name| name.split_whitespace().next());
        let types = names.filter(|name| name.starts_with(|first: char| first.is_uppercase()));
        found.extend(types.filter(|name| *name != "Shared").map(str::to_string));
    }
    found
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// The node tests of each operator. Those of `_expanded` functions test others.
fn add_node_tests(operators: &mut BTreeMap<String, Operator>) {
    let refusals: BTreeMap<String, BTreeMap<String, String>> =
        manifest(&folder("tests/fixtures/expected_refusals.json"));
    let refused = |name: &str| refusals.get("nodes").is_some_and(|refusals| refusals.contains_key(name));
    let archive = unpacked("nodes");
    for file in ["MANIFEST.json", "MANIFEST_contrib.json", "MANIFEST_generated.json"] {
        for test in manifest::<Manifest>(&archive.join(file)).cases {
            let name = if test.domain.is_empty() { test.op } else { format!("{}.{}", test.domain, test.op) };
            let Some(operator) = operators.get_mut(&name).filter(|_| !test.expanded) else { continue };
            operator.tests += 1;
            if !refused(&test.name) {
                operator.tests_right += 1;
                operator.opsets.insert(test.opset);
                operator.dtypes.extend(test.inputs.into_iter().map(|input| input.dtype));
            }
        }
    }
}

/// Operators with subgraphs, which src/graph/control_flow wires.
const CONTROL_FLOW: &[&str] = &["If", "Loop", "Scan"];

/// Attentions that always know where each sequence ends, which only the CPU's do.
const PER_SEQUENCE: &[&str] = &["DecoderMaskedMultiHeadAttention", "GroupQueryAttention"];

fn render(operators: &BTreeMap<String, Operator>) -> String {
    let own = |name: &&String| operators[*name].description.is_some();
    let (own, control_flow): (Vec<&String>, Vec<&String>) = operators.keys().partition(own);
    let mut text = INTRODUCTION.replace("OPSETS", &read_opsets());
    text += "\n## Operators on tensors\n\n| operator | domain | opsets | attributes | becomes | GPU | tests right | types tested | scope |\n";
    text += "|---|---|---|---|---|---|---|---|---|\n";
    for name in own {
        let operator = &operators[name];
        let (domain, short) = name.rsplit_once('.').unwrap_or(("ai.onnx", name));
        let gpu = if operator.ops.contains("Attention") && !PER_SEQUENCE.contains(&short) { "attention" } else { "" };
        let scope = operator.description.as_deref().unwrap_or_default().replace('|', "\\|");
        let opsets = opsets(&scope);
        let (attributes, ops) = (list(&operator.attributes), list(&operator.ops));
        let (tests, types) = (tests(operator), types(operator));
        text += &format!(
            "| {short} | {domain} | {opsets} | {attributes} | {ops} | {gpu} | {tests} | {types} | {scope} |\n"
        );
    }
    text += "\n## Control flow\n\n| operator | opsets tested | types tested | tests right |\n|---|---|---|---|\n";
    for name in control_flow {
        let operator = &operators[name];
        let opsets: Vec<String> = operator.opsets.iter().map(i64::to_string).collect();
        text += &format!("| {name} | {} | {} | {} |\n", opsets.join(", "), types(operator), tests(operator));
    }
    text
}

const INTRODUCTION: &str = "# Operators

Written by `UPDATE_EXPECT=1 cargo test --test operators` from the code and the node tests; do not edit. Opsets OPSETS are read.
An operator, attribute, element type or form that is not supported is refused with a typed error, which names the operator, the node and a remedy.

Every operator runs on the CPU, natively and in WebAssembly. On a GPU runs what becomes a plain attention, by itself or because the nodes of an
attention were recognised; one that caps its scores, sees a window, rounds inside, gives its scores or knows each sequence's length stays on the CPU. float16 and bfloat16 models run in float32. *tests*: ONNX's own node tests and those of tests/fixtures for com.microsoft;
*types tested*: of inputs, in the tests that are right.
";

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn types(operator: &Operator) -> String {
    operator.dtypes.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn tests(operator: &Operator) -> String {
    match operator.tests {
        0 => String::new(),
        all => format!("{} of {all}", operator.tests_right),
    }
}
