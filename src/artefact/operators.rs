//! The operators that can be saved: what is written of each, and read.

use super::reader::{Reader, malformed};
use super::stock;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::ops::arg_extremum::ArgExtremum;
use crate::ops::cast_to_integer::CastToInteger;
use crate::ops::conv::Conv;
use crate::ops::conv_transpose::ConvTranspose;
use crate::ops::cumulative::Cumulative;
use crate::ops::einsum::EinSum;
use crate::ops::extremum::Extremum;
use crate::ops::gather_nd::GatherNd;
use crate::ops::integer_mat_mul::IntegerMatMul;
use crate::ops::plain::PlainOperator;
use crate::ops::pool::Pool;
use crate::ops::{
    Activate, AppendToCache, Attention, Buffer, CheckIndices, ConvInteger, DequantizeLinear, DynamicQuantizeLinear,
    Embedding, GatedLinear, IntegerLinear, IntegerPower, KnownSizes, LayerNorm, Linear, Lookup, MatMul, MatMulInteger,
    NarrowInteger, OneHot, PaddingMask, QLinearBinary, QLinearSoftmax, QuantizeLinear, QuantizedLinear, QuantizedNorm,
    Reduce, RelativePositionBucket, Requantize, RmsNorm, RotaryEmbedding, RotateAndCache, RoundFloat, ScatterElements,
    ScatterNd, Shared, Slice, Softplus, TensorScatter, TopK,
};
use tract_core::internal::{TypedNode, TypedOp};

/// An operator that can be saved.
pub trait Stored: TypedOp + Sized {
    /// What the operator is called in artefacts.
    const NAME: &'static str;

    /// Writes the parameters.
    fn write<'a>(&'a self, node: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()>;

    /// Reads the parameters.
    fn read(reader: &mut Reader) -> Result<Self>;
}

/// An entry of the table of operators.
pub struct Entry {
    name: &'static str,
    /// Writes the parameters, if the node is one of this operator.
    write: for<'a> fn(&'a TypedNode, &mut Writer<'a>) -> Option<Result<()>>,
    read: fn(&mut Reader) -> Result<Box<dyn TypedOp>>,
}

impl Entry {
    /// Of an operator.
    pub const fn of<O: Stored>() -> Entry {
        fn write<'a, O: Stored>(node: &'a TypedNode, writer: &mut Writer<'a>) -> Option<Result<()>> {
            let operator = node.op_as::<O>()?;
            Some(writer.value(O::NAME).and_then(|()| operator.write(node, writer)))
        }
        fn read<O: Stored>(reader: &mut Reader) -> Result<Box<dyn TypedOp>> {
            Ok(Box::new(O::read(reader)?))
        }
        Entry { name: O::NAME, write: write::<O>, read: read::<O> }
    }
}

const OWN: &[Entry] = &[
    Entry::of::<Activate>(),
    Entry::of::<AppendToCache>(),
    Entry::of::<Attention>(),
    Entry::of::<CheckIndices>(),
    Entry::of::<DequantizeLinear>(),
    Entry::of::<Embedding>(),
    Entry::of::<GatedLinear>(),
    Entry::of::<KnownSizes>(),
    Entry::of::<LayerNorm>(),
    Entry::of::<Linear>(),
    Entry::of::<MatMul>(),
    Entry::of::<NarrowInteger>(),
    Entry::of::<OneHot>(),
    Entry::of::<PaddingMask>(),
    Entry::of::<QuantizeLinear>(),
    Entry::of::<QuantizedLinear>(),
    Entry::of::<QuantizedNorm>(),
    Entry::of::<Reduce>(),
    Entry::of::<RmsNorm>(),
    Entry::of::<RotaryEmbedding>(),
    Entry::of::<RotateAndCache>(),
    Entry::of::<RoundFloat>(),
    Entry::of::<ScatterElements>(),
    Entry::of::<ScatterNd>(),
    Entry::of::<Slice>(),
    Entry::of::<TensorScatter>(),
    Entry::of::<TopK>(),
    Entry::of::<PlainOperator<ArgExtremum>>(),
    Entry::of::<PlainOperator<CastToInteger>>(),
    Entry::of::<PlainOperator<Conv>>(),
    Entry::of::<PlainOperator<ConvInteger>>(),
    Entry::of::<PlainOperator<ConvTranspose>>(),
    Entry::of::<PlainOperator<Cumulative>>(),
    Entry::of::<PlainOperator<DynamicQuantizeLinear>>(),
    Entry::of::<PlainOperator<EinSum>>(),
    Entry::of::<PlainOperator<Extremum>>(),
    Entry::of::<PlainOperator<GatherNd>>(),
    Entry::of::<PlainOperator<IntegerLinear>>(),
    Entry::of::<PlainOperator<IntegerMatMul>>(),
    Entry::of::<PlainOperator<IntegerPower>>(),
    Entry::of::<PlainOperator<Lookup>>(),
    Entry::of::<PlainOperator<MatMulInteger>>(),
    Entry::of::<PlainOperator<Pool>>(),
    Entry::of::<PlainOperator<QLinearBinary>>(),
    Entry::of::<PlainOperator<QLinearSoftmax>>(),
    Entry::of::<PlainOperator<RelativePositionBucket>>(),
    Entry::of::<PlainOperator<Requantize>>(),
    Entry::of::<PlainOperator<Softplus>>(),
];

fn entries() -> impl Iterator<Item = &'static Entry> {
    OWN.iter().chain(stock::ENTRIES)
}

/// Writes a node's operator.
///
/// # Errors
/// `UnsupportedOp` for one that cannot be saved.
pub fn write<'a>(node: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
    let written = entries().find_map(|entry| (entry.write)(node, writer));
    written.unwrap_or_else(|| Err(unsaved(&node.op.name())))
}

/// Reads an operator.
///
/// # Errors
/// `InvalidModel` for what is none.
pub fn read(reader: &mut Reader) -> Result<Box<dyn TypedOp>> {
    let name: &str = reader.value()?;
    let entry = entries().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| malformed("there is no such operator").op(name))?;
    (entry.read)(reader).map_err(|error| error.op(name))
}

/// The error of an operator that has no stored form.
pub fn unsaved(name: &str) -> Error {
    Error::unsupported_op("a model with this operator cannot be saved")
        .op(name)
        .remedy("load the model itself each time")
}

/// Operators that are nothing but plain data.
macro_rules! plain_data {
    ($($operator:ty => $name:literal),* $(,)?) => {
        $(impl Stored for $operator {
            const NAME: &'static str = $name;

            fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
                writer.value(self)
            }

            fn read(reader: &mut Reader) -> Result<Self> {
                reader.value()
            }
        })*
    };
}

plain_data! {
    Activate => "Activate",
    Attention => "Attention",
    CheckIndices => "CheckIndices",
    DequantizeLinear => "DequantizeLinear",
    MatMul => "MatMul",
    NarrowInteger => "NarrowInteger",
    OneHot => "OneHot",
    QuantizeLinear => "QuantizeLinear",
    QuantizedNorm => "QuantizedNorm",
    Reduce => "Reduce",
    RotaryEmbedding => "RotaryEmbedding",
    RoundFloat => "RoundFloat",
    ScatterElements => "ScatterElements",
    ScatterNd => "ScatterNd",
    TensorScatter => "TensorScatter",
}

/// As [`plain_data`], of plain operators.
macro_rules! plain_operators {
    ($($operator:ident),* $(,)?) => {
        $(impl Stored for PlainOperator<$operator> {
            const NAME: &'static str = stringify!($operator);

            fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
                writer.value(&self.0)
            }

            fn read(reader: &mut Reader) -> Result<Self> {
                reader.value().map(PlainOperator)
            }
        })*
    };
}

plain_operators! {
    ArgExtremum, Conv, ConvInteger, ConvTranspose, Cumulative, DynamicQuantizeLinear, EinSum, Extremum, GatherNd,
    IntegerMatMul, IntegerPower, MatMulInteger, Pool, QLinearBinary, QLinearSoftmax, RelativePositionBucket, Requantize, Softplus,
}

impl Stored for Linear {
    const NAME: &'static str = "Linear";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let Linear { inputs, outputs, weights, bias, activation, joined } = self;
        writer.value(&(inputs, outputs, activation, joined))?;
        writer.shared(weights)?;
        writer.optional(bias.as_ref())
    }

    fn read(reader: &mut Reader) -> Result<Linear> {
        let (inputs, outputs, activation, joined) = reader.value()?;
        let linear =
            Linear { inputs, outputs, weights: reader.shared()?, bias: reader.optional()?, activation, joined };
        let fits = (linear.weights.inputs(), linear.weights.outputs()) == (inputs, outputs)
            && linear.bias.as_ref().is_none_or(|bias| bias.len() == outputs);
        if fits { Ok(linear) } else { Err(malformed("the weights of a layer are of another size")) }
    }
}

impl Stored for GatedLinear {
    const NAME: &'static str = "GatedLinear";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let GatedLinear { inputs, outputs, gate, gate_bias, activation, up, up_bias } = self;
        writer.value(&(inputs, outputs, activation))?;
        for (weights, bias) in [(gate, gate_bias), (up, up_bias)] {
            writer.shared(weights)?;
            writer.optional(bias.as_ref())?;
        }
        Ok(())
    }

    fn read(reader: &mut Reader) -> Result<GatedLinear> {
        let (inputs, outputs, activation) = reader.value()?;
        let (gate, gate_bias) = (reader.shared()?, reader.optional()?);
        let (up, up_bias) = (reader.shared()?, reader.optional()?);
        let linear = GatedLinear { inputs, outputs, gate, gate_bias, activation, up, up_bias };
        let fits = [&linear.gate, &linear.up].map(|weights| (weights.inputs(), weights.outputs()))
            == [(inputs, outputs); 2]
            && [&linear.gate_bias, &linear.up_bias].into_iter().flatten().all(|bias| bias.len() == outputs);
        if fits { Ok(linear) } else { Err(malformed("the weights of a layer are of another size")) }
    }
}

impl Stored for QuantizedLinear {
    const NAME: &'static str = "QuantizedLinear";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let QuantizedLinear { weights, scales, bias, activation, joined, quantizes } = self;
        writer.value(&(activation, joined, quantizes))?;
        writer.shared(weights)?;
        writer.shared(scales)?;
        writer.optional(bias.as_ref())
    }

    fn read(reader: &mut Reader) -> Result<QuantizedLinear> {
        let (activation, joined, quantizes) = reader.value()?;
        let (weights, scales, bias) = (reader.shared()?, reader.shared()?, reader.optional()?);
        let linear = QuantizedLinear { weights, scales, bias, activation, joined, quantizes };
        let outputs = linear.weights.outputs();
        let fits = [1, outputs].contains(&linear.scales.len())
            && linear.bias.as_ref().is_none_or(|bias| bias.len() == outputs);
        if fits { Ok(linear) } else { Err(malformed("the weights of a layer are of another size")) }
    }
}

impl Stored for Embedding {
    const NAME: &'static str = "Embedding";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let Embedding { width, rows, table, added } = self;
        writer.value(&(width, rows, added))?;
        writer.shared(table)
    }

    fn read(reader: &mut Reader) -> Result<Embedding> {
        let (width, rows, added) = reader.value()?;
        let embedding = Embedding { width, rows, table: reader.shared()?, added };
        let fits = (embedding.table.width(), embedding.table.rows()) == (width, rows);
        if fits { Ok(embedding) } else { Err(malformed("a table is of another size")) }
    }
}

impl Stored for LayerNorm {
    const NAME: &'static str = "LayerNorm";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.epsilon)?;
        writer.shared(&self.gamma)?;
        writer.optional(self.beta.as_ref())
    }

    fn read(reader: &mut Reader) -> Result<LayerNorm> {
        Ok(LayerNorm { epsilon: reader.value()?, gamma: reader.shared()?, beta: reader.optional()? })
    }
}

impl Stored for RmsNorm {
    const NAME: &'static str = "RmsNorm";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.epsilon)?;
        writer.shared(&self.gamma)
    }

    fn read(reader: &mut Reader) -> Result<RmsNorm> {
        Ok(RmsNorm { epsilon: reader.value()?, gamma: reader.shared()? })
    }
}

impl Stored for PlainOperator<IntegerLinear> {
    const NAME: &'static str = "IntegerLinear";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.shared(&self.0.weights)
    }

    fn read(reader: &mut Reader) -> Result<Self> {
        Ok(PlainOperator(IntegerLinear { weights: reader.shared()? }))
    }
}

impl Stored for PlainOperator<Lookup> {
    const NAME: &'static str = "Lookup";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.once(self.0.table.address(), |writer| writer.numbers(&self.0.table))
    }

    fn read(reader: &mut Reader) -> Result<Self> {
        Ok(PlainOperator(Lookup { table: reader.once(|reader| reader.numbers().map(Shared::new))? }))
    }
}

impl Stored for PlainOperator<CastToInteger> {
    const NAME: &'static str = "CastToInteger";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.datum_type(self.0.to)
    }

    fn read(reader: &mut Reader) -> Result<Self> {
        Ok(PlainOperator(CastToInteger { to: reader.datum_type()? }))
    }
}

impl Stored for AppendToCache {
    const NAME: &'static str = "AppendToCache";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let AppendToCache { heads, layout, columns, past, buffer } = self;
        writer.value(&(heads, layout, columns, past, buffer.as_ref().map(|buffer| buffer.minted)))?;
        writer.expressions(buffer.as_ref().map(|buffer| &buffer.length))
    }

    fn read(reader: &mut Reader) -> Result<AppendToCache> {
        let (heads, layout, columns, past, minted): (_, _, _, _, Option<bool>) = reader.value()?;
        let mut lengths = reader.expressions()?.into_iter();
        let buffer = minted.and_then(|minted| Some(Buffer { length: lengths.next()?, minted }));
        Ok(AppendToCache { heads, layout, columns, past, buffer })
    }
}

impl Stored for RotateAndCache {
    const NAME: &'static str = "RotateAndCache";

    fn write<'a>(&'a self, node: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let RotateAndCache { query, keys, values } = self;
        query.write(node, writer)?;
        keys.write(node, writer)?;
        values.write(node, writer)
    }

    fn read(reader: &mut Reader) -> Result<RotateAndCache> {
        let (query, keys, values) = (Stored::read(reader)?, Stored::read(reader)?, Stored::read(reader)?);
        Ok(RotateAndCache { query, keys, values })
    }
}

impl Stored for PaddingMask {
    const NAME: &'static str = "PaddingMask";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.filter)?;
        writer.expressions([&self.batch, &self.keys])
    }

    fn read(reader: &mut Reader) -> Result<PaddingMask> {
        let filter = reader.value()?;
        match &*reader.expressions()? {
            [batch, keys] => Ok(PaddingMask { batch: batch.clone(), keys: keys.clone(), filter }),
            _ => Err(malformed("a mask has two sizes")),
        }
    }
}

impl Stored for KnownSizes {
    const NAME: &'static str = "KnownSizes";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.sizes.iter().map(|(axis, _)| *axis).collect::<Vec<_>>())?;
        writer.expressions(self.sizes.iter().map(|(_, size)| size))
    }

    fn read(reader: &mut Reader) -> Result<KnownSizes> {
        let axes: Vec<usize> = reader.value()?;
        Ok(KnownSizes { sizes: axes.into_iter().zip(reader.expressions()?).collect() })
    }
}

impl Stored for Slice {
    const NAME: &'static str = "Slice";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&(&self.axes, &self.steps))?;
        writer.expressions(&self.lengths)
    }

    fn read(reader: &mut Reader) -> Result<Slice> {
        let (axes, steps) = reader.value()?;
        Ok(Slice { axes, steps, lengths: reader.expressions()?.into_iter().collect() })
    }
}

impl Stored for TopK {
    const NAME: &'static str = "TopK";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&(self.axis, self.largest))?;
        writer.expressions([&self.k])
    }

    fn read(reader: &mut Reader) -> Result<TopK> {
        let (axis, largest) = reader.value()?;
        let k = reader.expressions()?.into_iter().next().ok_or_else(|| malformed("a number is missing"))?;
        Ok(TopK { axis, largest, k })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{ScoreStage, Window};
    use crate::error::ErrorCode;
    use crate::kernels::activation::Activation;
    use crate::kernels::embedding::EmbeddingTable;
    use crate::kernels::integer_linear::IntegerWeights;
    use crate::kernels::linear::{Join, LinearWeights, NBits, NBitsZeroPoints};
    use crate::kernels::norm::NormSteps;
    use crate::kernels::score_steps::ScoreStep;
    use crate::kernels::steps::{QuantizedSoftmax, Step};
    use crate::ops::pool::{PlaceOrder, Pooling};
    use crate::ops::windows::{Padding, WindowSteps};
    use crate::ops::{Columns, HeadLayout, Positions, QuantizedType, Reducer, Reduction, Shared};
    use std::collections::BTreeSet;
    use tract_core::internal::{AxisOp, Tensor, TypedFact};
    use tract_core::internal::{DatumExt, DatumType, Outlet, SymbolScope, TDim, ToDim, TypedModel, tensor1, tvec};
    use tract_core::ops::source::TypedSource;
    use tract_core::ops::{array, binary::TypedBinOp, cast::Cast, dummy::Dummy};
    use tract_core::ops::{element_wise::ElementWiseOp, konst::Const, logic, math, nn};

    fn node(operator: Box<dyn TypedOp>, length: &TDim) -> TypedNode {
        let fact = f32::fact(std::slice::from_ref(length));
        let outputs = tvec!(Outlet { fact, successors: tvec!() });
        TypedNode { id: 0, name: "node".into(), inputs: vec![], op: operator, outputs }
    }

    fn int4() -> LinearWeights {
        let b: Vec<u8> = (0..96).collect();
        let weights = NBits {
            bits: 4,
            inputs: 60,
            outputs: 3,
            block_size: 16,
            b: &b,
            scales: &[0.5; 12],
            zero_points: NBitsZeroPoints::Floats(&[1.5; 12]),
            groups: None,
        };
        LinearWeights::from_nbits(weights).unwrap().rounding_activations()
    }

    fn weighted() -> Vec<Box<dyn TypedOp>> {
        let floats: Vec<f32> = (0..600).map(|at| at as f32 - 9.5).collect();
        let bytes: Vec<i8> = (0..60).collect();
        let float = Linear::new(20, 30, Shared::new(LinearWeights::from_f32(&floats, 20, 30, 30, 1)));
        let whole = LinearWeights::from_f32(&floats, 20, 24, 24, 1);
        let joined = LinearWeights::joined(&[&whole, &float.weights]);
        let bias = Some(Shared::new(vec![-1.0; 30]));
        let gated = |gate_bias: &Option<Shared<Vec<f32>>>, up_bias: &Option<Shared<Vec<f32>>>| GatedLinear {
            inputs: 20,
            outputs: 30,
            gate: float.weights.clone(),
            gate_bias: gate_bias.clone(),
            activation: Activation::Silu,
            up: Shared::new(LinearWeights::from_f32(&floats, 20, 30, 1, 20)),
            up_bias: up_bias.clone(),
        };
        let int8 = LinearWeights::from_int8(&bytes, 20, 3, 3, 1, &[0.5], &[1, 2, 3]).unwrap();
        let blocks = int4();
        let table = EmbeddingTable::from_linear(&blocks).unwrap();
        let embedding = |table: EmbeddingTable| Embedding::new(table.rows(), table.width(), Shared::new(table));
        let integers = |zero_points: &[i8]| Shared::new(IntegerWeights::new(&bytes, 20, 3, zero_points).unwrap());
        let unsigned = bytes.iter().map(|byte| *byte as u8).collect();
        let quantized = QuantizedLinear {
            bias: Some(Shared::new(vec![0.5; 3])),
            joined: Some(Join::Add),
            quantizes: true,
            ..QuantizedLinear::new(integers(&[1, 2, 3]), vec![0.25])
        };
        let gamma = Shared::new(vec![1.0, f32::NAN, f32::NEG_INFINITY]);
        let norm = LayerNorm { gamma: gamma.clone(), beta: Some(gamma.clone()), epsilon: 1e-5 };
        vec![
            Box::new(gated(&bias, &None)),
            Box::new(gated(&None, &bias)),
            Box::new(gated(&bias, &bias)),
            Box::new(Linear { bias, activation: Activation::Gelu, joined: Some(Join::Multiply), ..float }),
            Box::new(Linear::new(20, 54, Shared::new(joined))),
            Box::new(Linear::new(20, 3, Shared::new(int8))),
            Box::new(Linear::new(60, 3, Shared::new(blocks))),
            Box::new(embedding(table)),
            Box::new(embedding(EmbeddingTable::from_f32(floats, 30, 20))),
            Box::new(embedding(EmbeddingTable::from_int8(bytes.clone(), 20, 3, vec![0.5; 20], vec![]).unwrap())),
            Box::new(embedding(EmbeddingTable::from_uint8(unsigned, 20, 3, vec![0.5], vec![7]).unwrap())),
            Box::new(quantized),
            Box::new(PlainOperator(IntegerLinear { weights: integers(&[]) })),
            Box::new(norm),
            Box::new(RmsNorm { gamma, epsilon: 1e-6 }),
            Box::new(PlainOperator(Lookup { table: Shared::new(tensor1(&[1u8; 256])) })),
        ]
    }

    fn own(length: &TDim) -> Vec<Box<dyn TypedOp>> {
        let steps = vec![
            ScoreStep::Each(Step::Multiply(0.5)),
            ScoreStep::Replace { kept: true, value: f32::NEG_INFINITY },
            ScoreStep::QuantizedSoftmax(QuantizedSoftmax {
                scale: 1.0,
                out_scale: 0.5,
                zero_point: 3.0,
                highest: 255.0,
            }),
        ];
        let columns = Some(Columns { first: 3, count: 9 });
        let attention = Attention {
            window: Window { left: Some(7), right: Some(0) },
            scores: Some(ScoreStage::Masked),
            steps,
            columns: [None, columns, None],
            ..Attention::new(4, 2, Some(0.125), HeadLayout::PositionMajor)
        };
        let buffer = Some(Buffer { length: length.clone(), minted: true });
        let append = AppendToCache { heads: 2, layout: HeadLayout::Packed, columns, past: true, buffer };
        let rotary = RotaryEmbedding {
            heads: Some(2),
            layout: HeadLayout::HeadMajor,
            columns,
            interleaved: true,
            positions: Positions::Following,
        };
        let norm = NormSteps {
            mean: Some(vec![Step::Round]),
            deviations: vec![],
            squares: vec![Step::Saturate { lowest: -128.0, highest: 127.0 }],
            root: vec![Step::SquareRoot],
            multiplies: true,
        };
        let padding = Padding::Explicit(vec![1, 2]);
        let steps = WindowSteps { strides: vec![1], dilations: vec![3], padding };
        let pooling = Pooling::Greatest { places: Some(PlaceOrder::ColumnMajor) };
        let integer = QuantizedType::UINT8;
        vec![
            Box::new(Activate(Activation::QuickGelu)),
            Box::new(append.clone()),
            Box::new(attention),
            Box::new(CheckIndices { axis: 1 }),
            Box::new(DequantizeLinear { axis: 1, block_size: 32, packed: Some(integer) }),
            Box::new(KnownSizes { sizes: tvec!((1, length.clone())) }),
            Box::new(MatMul),
            Box::new(NarrowInteger(QuantizedType::INT8)),
            Box::new(OneHot { axis: 1, depth: 9 }),
            Box::new(PaddingMask { batch: 2.to_dim(), keys: length.clone(), filter: f32::MIN }),
            Box::new(QuantizeLinear { axis: 0, block_size: 0, output: integer }),
            Box::new(QuantizedNorm(norm)),
            Box::new(Reduce { reducer: Reducer::LogSumExp, axes: vec![0, 2] }),
            Box::new(rotary.clone()),
            Box::new(RotateAndCache { query: rotary, values: append.clone(), keys: append }),
            Box::new(RoundFloat::BFloat16),
            Box::new(ScatterElements { axis: 1, reduction: Reduction::Add }),
            Box::new(ScatterNd { reduction: Reduction::Max }),
            Box::new(Slice { axes: vec![1], steps: vec![-2], lengths: vec![length.clone()] }),
            Box::new(TensorScatter { axis: 2, circular: true }),
            Box::new(TopK { axis: 1, largest: false, k: length.clone() }),
            Box::new(PlainOperator(ArgExtremum { greatest: true, axis: 1, keep_axis: false, last: true })),
            Box::new(PlainOperator(CastToInteger { to: DatumType::I16 })),
            Box::new(PlainOperator(Conv { groups: 1, steps: steps.clone() })),
            Box::new(PlainOperator(ConvInteger { groups: 2, steps: steps.clone() })),
            Box::new(PlainOperator(ConvTranspose { steps: steps.clone(), extra: vec![1] })),
            Box::new(PlainOperator(Cumulative { product: true, exclusive: false, reverse: true })),
            Box::new(PlainOperator(DynamicQuantizeLinear)),
            Box::new(PlainOperator(EinSum { operands: vec!["ij".into(), "jk".into()], result: "ki".into() })),
            Box::new(PlainOperator(Extremum { greatest: true })),
            Box::new(PlainOperator(GatherNd { batch_dims: 1 })),
            Box::new(PlainOperator(IntegerMatMul)),
            Box::new(PlainOperator(IntegerPower)),
            Box::new(PlainOperator(MatMulInteger)),
            Box::new(PlainOperator(Pool { pooling, kernel: vec![2], steps, round_up: true })),
            Box::new(PlainOperator(QLinearBinary::Mul)),
            Box::new(PlainOperator(QLinearSoftmax)),
            Box::new(PlainOperator(RelativePositionBucket { buckets: 32, max_distance: 128, bidirectional: true })),
            Box::new(PlainOperator(Requantize { axis: 1, alpha: 0.5, output: Some(integer) })),
            Box::new(PlainOperator(Softplus)),
        ]
    }

    fn of_tract(length: &TDim) -> Vec<Box<dyn TypedOp>> {
        let constant = |tensor: Tensor| Box::new(Const::new(tensor.into()).unwrap());
        vec![
            Box::new(AxisOp::Add(1)),
            Box::new(AxisOp::Rm(0)),
            Box::new(AxisOp::Move(2, 0)),
            Box::new(AxisOp::Reshape(1, tvec!(length.clone()), tvec!(2.to_dim(), length.clone() / 2))),
            Box::new(Cast { to: DatumType::F16 }),
            constant(tensor1(&[true, false])),
            constant(tensor1(&[1i64; 1000])),
            constant(tensor1(&[length.clone(), 3.to_dim()])),
            Box::new(ElementWiseOp(Box::new(math::Rsqrt {}), None)),
            Box::new(array::Gather { axis: 1, output_type: Some(DatumType::F32) }),
            Box::new(array::GatherElements { axis: 1 }),
            Box::new(array::GatherNd { batch_dims: 1 }),
            Box::new(logic::Iff),
            Box::new(array::MultiBroadcastTo { shape: [length.clone(), 4.to_dim()].into_iter().collect() }),
            Box::new(array::Range::new(length.clone())),
            Box::new(nn::Reduce { axes: tvec!(0, 1), reducer: nn::Reducer::ArgMax(true) }),
            Box::new(array::Slice::new(1, 2, length.clone())),
            Box::new(array::Trilu { upper: true }),
            Box::new(TypedBinOp(Box::new(logic::CompGTE), Some(DatumType::Bool))),
            Box::new(array::TypedConcat { axis: 2 }),
            Box::new(TypedSource::new(TypedFact::dt_shape(DatumType::I64, [length.clone()]))),
        ]
    }

    /// Description and parts of a graph of that node alone.
    fn written(node: &TypedNode, symbols: &SymbolScope) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let graph = TypedModel { symbols: symbols.clone(), ..TypedModel::default() };
        let mut writer = Writer::default();
        writer.symbols_of(&graph)?;
        write(node, &mut writer)?;
        let (description, parts) = writer.finish();
        Ok((description, parts.into_iter().map(<[u8]>::to_vec).collect()))
    }

    #[test]
    fn every_operator_is_read_as_it_was_written() {
        let symbols = SymbolScope::default();
        let length = (symbols.sym("batch").to_dim() * 3 + symbols.sym("past").to_dim()) / 2;
        let mut seen = BTreeSet::new();
        for operator in [weighted(), own(&length), of_tract(&length)].concat() {
            let node = node(operator, &length);
            let (description, parts) = written(&node, &symbols).unwrap();
            let mut file = vec![0; super::super::header::LEN + description.len()];
            for part in &parts {
                file.resize(file.len().next_multiple_of(64), 0);
                file.extend_from_slice(part);
            }
            let source = ("artefact", &*file);
            let mut reader = Reader::new(&source, &description);
            reader.symbols_of(&mut TypedModel { symbols: symbols.clone(), ..TypedModel::default() }).unwrap();
            let again = TypedNode { op: read(&mut reader).unwrap(), ..node.clone() };
            reader.finish().unwrap();
            assert_eq!(format!("{:?}", again.op), format!("{:?}", node.op));
            assert!(written(&again, &symbols).unwrap() == (description, parts), "{:?}", node.op);
            seen.extend(
                entries()
                    .filter(|entry| (entry.write)(&node, &mut Writer::default()).is_some())
                    .map(|entry| entry.name),
            );
        }
        let all: BTreeSet<&str> = entries().map(|entry| entry.name).collect();
        assert_eq!((seen, all.len()), (all, entries().count()));
    }

    #[test]
    fn other_operators_are_refused() {
        let symbols = SymbolScope::default();
        let cases: [(Box<dyn TypedOp>, &str); 3] = [
            (Box::new(Dummy), "Dummy"),
            (Box::new(ElementWiseOp(Box::new(math::PowConst { exponent: 2.0 }), None)), "PowConst"),
            (Box::new(TypedBinOp(Box::new(math::ShiftLeft), None)), "ShiftLeft"),
        ];
        for (operator, name) in cases {
            let error = written(&node(operator, &1.to_dim()), &symbols).unwrap_err();
            assert_eq!((error.code, error.op.as_deref()), (ErrorCode::UnsupportedOp, Some(name)));
        }
    }
}
