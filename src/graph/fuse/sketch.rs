//! Small graphs for the case tables of the rules.

use super::fuse;
use crate::graph::Report;
use crate::ops::{DequantizeLinear, QuantizeLinear, QuantizedType};
use tract_core::internal::*;
use tract_core::ops::nn::{Reduce, Reducer, Softmax};

/// What a rule is expected to make of a graph.
pub enum Expected {
    /// It recognises the pattern.
    Fused,
    /// It does not, and gives a reason that contains these words, or none if there are no words.
    Not(&'static str),
}

/// A graph under construction. Its symbols are `B`, 2 in runs, and `S`, 3 in runs.
pub struct Sketch {
    pub model: TypedModel,
}

impl Sketch {
    pub fn new() -> Sketch {
        Sketch { model: TypedModel::default() }
    }

    /// The symbol of that name.
    pub fn dim(&self, name: &str) -> TDim {
        self.model.symbols.sym(name).to_dim()
    }

    fn name(&self) -> String {
        format!("n{}", self.model.nodes().len())
    }

    /// An input of that type; 0 stands for `B` as the first size, and for `S` elsewhere.
    pub fn typed_input(&mut self, datum_type: DatumType, shape: &[usize]) -> OutletId {
        let dim = |(axis, size): (usize, &usize)| match (size, axis) {
            (0, 0) => self.dim("B"),
            (0, _) => self.dim("S"),
            (size, _) => size.to_dim(),
        };
        let shape: TVec<TDim> = shape.iter().enumerate().map(dim).collect();
        let name = self.name();
        self.model.add_source(name, datum_type.fact(shape)).unwrap()
    }

    /// An f32 input; sizes as for `typed_input`.
    pub fn input(&mut self, shape: &[usize]) -> OutletId {
        self.typed_input(f32::datum_type(), shape)
    }

    /// A constant.
    pub fn constant(&mut self, tensor: Tensor) -> OutletId {
        let name = self.name();
        self.model.add_const(name, tensor).unwrap()
    }

    /// An f32 constant of arbitrary elements between -1 and 1.
    pub fn weights(&mut self, shape: &[usize]) -> OutletId {
        let values: Vec<f32> = (0..shape.iter().product()).map(|at| arbitrary(at + 17)).collect();
        self.constant(Tensor::from_shape(shape, &values).unwrap())
    }

    /// A constant of one element and that rank.
    pub fn number(&mut self, rank: usize, value: f32) -> OutletId {
        self.constant(Tensor::from_shape(&vec![1; rank], &[value]).unwrap())
    }

    /// Wires an operator with one output.
    pub fn wire(&mut self, operator: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        let name = self.name();
        self.model.wire_node(name, operator, inputs).unwrap()[0]
    }

    /// Quantised to uint8.
    pub fn quantized(&mut self, x: OutletId, scale: f32, zero_point: u8) -> OutletId {
        let parameters = [self.constant(tensor0(scale)), self.constant(tensor0(zero_point))];
        let operator = QuantizeLinear { axis: 0, block_size: 0, output: QuantizedType::UINT8 };
        self.wire(operator, &[x, parameters[0], parameters[1]])
    }

    /// Dequantised from uint8.
    pub fn dequantized(&mut self, x: OutletId, scale: f32, zero_point: u8) -> OutletId {
        let parameters = [self.constant(tensor0(scale)), self.constant(tensor0(zero_point))];
        let operator = DequantizeLinear { axis: 0, block_size: 0, packed: None };
        self.wire(operator, &[x, parameters[0], parameters[1]])
    }

    /// Quantised to uint8 and back.
    pub fn rounded(&mut self, x: OutletId, scale: f32, zero_point: u8) -> OutletId {
        let quantized = self.quantized(x, scale, zero_point);
        self.dequantized(quantized, scale, zero_point)
    }

    /// Splits axis 2, `[batch, seq, heads * dim]`, and moves the heads forward.
    pub fn split_heads(&mut self, x: OutletId, heads: usize, dim: usize) -> OutletId {
        let split = AxisOp::Reshape(2, tvec!((heads * dim).to_dim()), tvec!(heads.to_dim(), dim.to_dim()));
        let split = self.wire(split, &[x]);
        self.wire(AxisOp::Move(1, 2), &[split])
    }

    /// The softmax over an axis.
    pub fn softmax(&mut self, x: OutletId, axis: usize) -> OutletId {
        self.wire(Softmax { axes: tvec!(axis), ..Softmax::default() }, &[x])
    }

    /// The mean over an axis of that size, as tract writes it.
    pub fn mean(&mut self, x: OutletId, axis: usize, size: usize) -> OutletId {
        let rank = self.model.outlet_fact(x).unwrap().rank();
        let sum = self.wire(Reduce { axes: tvec!(axis), reducer: Reducer::Sum }, &[x]);
        let size = self.number(rank, size as f32);
        self.wire(tract_core::ops::math::div(), &[sum, size])
    }

    /// Fuses the graph with these outputs, compares what was found with what is expected, and the results of both graphs.
    pub fn check(mut self, what: &str, outputs: &[OutletId], pattern: &str, expected: Expected) {
        self.model.select_output_outlets(outputs).unwrap();
        let mut report = Report::default();
        let fused = fuse(self.model.clone(), &mut report).unwrap();
        let found = report.fused.contains_key(pattern);
        let reasons: Vec<&str> =
            report.not_fused.iter().filter(|miss| miss.pattern == pattern).map(|miss| &*miss.reason).collect();
        match expected {
            Expected::Fused => assert!(found, "{what}: not recognised: {reasons:?}"),
            Expected::Not(words) => {
                assert!(!found, "{what}: recognised");
                let given = if words.is_empty() { reasons.is_empty() } else { reasons.join(" ").contains(words) };
                assert!(given, "{what}: reasons {reasons:?}");
            }
        }
        compare(what, &run(self.model), &run(fused));
    }
}

/// A number between -1 and 1.
fn arbitrary(at: usize) -> f32 {
    (at * 7919 % 2003) as f32 / 1001.5 - 1.0
}

fn run(model: TypedModel) -> TVec<TValue> {
    let feeds = model.inputs.iter().enumerate().map(|(number, input)| {
        let fact = model.outlet_fact(*input).unwrap();
        let values = SymbolValues::default().with(&model.symbols.sym("B"), 2).with(&model.symbols.sym("S"), 3);
        let shape: TVec<usize> = fact.shape.iter().map(|dim| dim.eval(&values).to_usize().unwrap()).collect();
        let elements: Vec<f32> = (0..shape.iter().product()).map(|at| arbitrary(at + 31 * number)).collect();
        let tensor = Tensor::from_shape(&shape, &elements).unwrap();
        let tensor = match fact.datum_type {
            // The first rows of a mask are masked everywhere.
            DatumType::Bool => {
                let elements: Vec<bool> = (0..elements.len()).map(|at| at > 5 && at % 3 != 0).collect();
                Tensor::from_shape(&shape, &elements).unwrap()
            }
            DatumType::I64 => {
                let elements: Vec<i64> = (0..elements.len()).map(|at| at as i64 * 7 % 5).collect();
                Tensor::from_shape(&shape, &elements).unwrap()
            }
            DatumType::U8 => {
                let elements: Vec<u8> = elements.iter().map(|element| (element * 100.0 + 128.0) as u8).collect();
                Tensor::from_shape(&shape, &elements).unwrap()
            }
            _ => tensor,
        };
        tensor.into_tvalue()
    });
    let feeds = feeds.collect();
    model.into_runnable().unwrap().run(feeds).unwrap()
}

fn compare(what: &str, expected: &[TValue], actual: &[TValue]) {
    for (expected, actual) in expected.iter().zip(actual) {
        assert_eq!(expected.shape(), actual.shape(), "{what}");
        let [expected, actual] = [expected, actual].map(|tensor| crate::ops::f32_slice(tensor).unwrap());
        for (expected, actual) in expected.iter().zip(actual) {
            let same =
                (expected - actual).abs() <= 1e-5 * (1.0 + expected.abs()) || expected.is_nan() && actual.is_nan();
            assert!(same, "{what}: {actual} instead of {expected}");
        }
    }
}
