//! tract's own operators.

use super::operators::{Entry, Stored, unsaved};
use super::reader::{Reader, malformed};
use super::writer::Writer;
use crate::error::Result;
use tract_core::internal::*;
use tract_core::ops::array::{Gather, GatherElements, GatherNd, MultiBroadcastTo, Range, Slice, Trilu, TypedConcat};
use tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_core::ops::cast::Cast;
use tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};
use tract_core::ops::konst::Const;
use tract_core::ops::logic::{And, CompEq, CompGT, CompGTE, CompLT, CompLTE, CompNE, Iff, Not, Or, Xor};
use tract_core::ops::math::{
    Abs, Add, Ceil, Cos, Div, Erf, Exp, Floor, Ln, Max, Min, Mul, Neg, Pow, Recip, Rem, Rsqrt, Sign, Sin, Sqrt, Square,
    Sub, Tanh,
};
use tract_core::ops::nn::{Reduce, Reducer, Sigmoid};
use tract_core::ops::source::TypedSource;

pub const ENTRIES: &[Entry] = &[
    Entry::of::<AxisOp>(),
    Entry::of::<Cast>(),
    Entry::of::<Const>(),
    Entry::of::<ElementWiseOp>(),
    Entry::of::<Gather>(),
    Entry::of::<GatherElements>(),
    Entry::of::<GatherNd>(),
    Entry::of::<Iff>(),
    Entry::of::<MultiBroadcastTo>(),
    Entry::of::<Range>(),
    Entry::of::<Reduce>(),
    Entry::of::<Slice>(),
    Entry::of::<Trilu>(),
    Entry::of::<TypedBinOp>(),
    Entry::of::<TypedConcat>(),
    Entry::of::<TypedSource>(),
];

/// Operations on two elements.
fn binary_operations() -> [Box<dyn BinMiniOp>; 18] {
    [
        Box::new(Add),
        Box::new(Sub),
        Box::new(Mul),
        Box::new(Div),
        Box::new(Rem),
        Box::new(Min),
        Box::new(Max),
        Box::new(Pow),
        Box::new(And),
        Box::new(Or),
        Box::new(Xor),
        Box::new(CompEq),
        Box::new(CompNE),
        Box::new(CompLT),
        Box::new(CompLTE),
        Box::new(CompGT),
        Box::new(CompGTE),
        Box::new(tract_core::ops::math::SubF),
    ]
}

/// Operations on one element that have no parameters.
fn unary_operations() -> [Box<dyn ElementWiseMiniOp>; 17] {
    [
        Box::new(Abs {}),
        Box::new(Ceil {}),
        Box::new(Cos {}),
        Box::new(Erf {}),
        Box::new(Exp {}),
        Box::new(Floor {}),
        Box::new(Ln {}),
        Box::new(Neg {}),
        Box::new(Not {}),
        Box::new(Recip {}),
        Box::new(Rsqrt {}),
        Box::new(Sigmoid {}),
        Box::new(Sign {}),
        Box::new(Sin {}),
        Box::new(Sqrt {}),
        Box::new(Square {}),
        Box::new(Tanh {}),
    ]
}

impl Writer<'_> {
    fn optional_type(&mut self, datum_type: Option<DatumType>) -> Result<()> {
        self.value(&datum_type.is_some())?;
        datum_type.map_or(Ok(()), |datum_type| self.datum_type(datum_type))
    }
}

impl Reader<'_> {
    fn optional_type(&mut self) -> Result<Option<DatumType>> {
        if self.value()? { self.datum_type().map(Some) } else { Ok(None) }
    }
}

impl Stored for TypedBinOp {
    const NAME: &'static str = "tract.Binary";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let name = self.0.name();
        if !binary_operations().contains(&self.0) {
            return Err(unsaved(name));
        }
        writer.value(&name)?;
        writer.optional_type(self.1)
    }

    fn read(reader: &mut Reader) -> Result<TypedBinOp> {
        let name: &str = reader.value()?;
        let operation = binary_operations().into_iter().find(|operation| operation.name() == name);
        let operation = operation.ok_or_else(|| malformed("there is no such operation").op(name))?;
        Ok(TypedBinOp(operation, reader.optional_type()?))
    }
}

impl Stored for ElementWiseOp {
    const NAME: &'static str = "tract.ElementWise";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let name = &self.0.name();
        if !unary_operations().contains(&self.0) {
            return Err(unsaved(name));
        }
        writer.value(&name)?;
        writer.optional_type(self.1)
    }

    fn read(reader: &mut Reader) -> Result<ElementWiseOp> {
        let name: &str = reader.value()?;
        let operation = unary_operations().into_iter().find(|operation| operation.name() == name);
        let operation = operation.ok_or_else(|| malformed("there is no such operation").op(name))?;
        Ok(ElementWiseOp(operation, reader.optional_type()?))
    }
}

impl Stored for Const {
    const NAME: &'static str = "tract.Const";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        if self.exotic_fact().is_some() {
            return Err(unsaved("Const"));
        }
        writer.tensor(self.val())
    }

    fn read(reader: &mut Reader) -> Result<Const> {
        Const::new(reader.tensor()?).map_err(|error| malformed(&error.to_string()))
    }
}

impl Stored for TypedSource {
    const NAME: &'static str = "tract.Source";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.datum_type(self.fact.datum_type)?;
        writer.expressions(self.fact.shape.iter())
    }

    fn read(reader: &mut Reader) -> Result<TypedSource> {
        let datum_type = reader.datum_type()?;
        Ok(TypedSource::new(TypedFact::dt_shape(datum_type, reader.expressions()?)))
    }
}

impl Stored for AxisOp {
    const NAME: &'static str = "tract.Axis";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let (kind, at, to): (u8, usize, usize) = match self {
            AxisOp::Add(at) => (0, *at, 0),
            AxisOp::Rm(at) => (1, *at, 0),
            AxisOp::Move(from, to) => (2, *from, *to),
            AxisOp::Reshape(at, ..) => (3, *at, 0),
        };
        writer.value(&(kind, at, to))?;
        if let AxisOp::Reshape(_, from, to) = self {
            writer.expressions(from)?;
            writer.expressions(to)?;
        }
        Ok(())
    }

    fn read(reader: &mut Reader) -> Result<AxisOp> {
        let (kind, at, to): (u8, usize, usize) = reader.value()?;
        Ok(match kind {
            0 => AxisOp::Add(at),
            1 => AxisOp::Rm(at),
            2 => AxisOp::Move(at, to),
            3 => AxisOp::Reshape(at, reader.expressions()?, reader.expressions()?),
            _ => return Err(malformed("there is no such change of axes")),
        })
    }
}

impl Stored for Cast {
    const NAME: &'static str = "tract.Cast";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.datum_type(self.to)
    }

    fn read(reader: &mut Reader) -> Result<Cast> {
        reader.datum_type().map(Cast::new)
    }
}

impl Stored for Gather {
    const NAME: &'static str = "tract.Gather";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.axis)?;
        writer.optional_type(self.output_type)
    }

    fn read(reader: &mut Reader) -> Result<Gather> {
        Ok(Gather { axis: reader.value()?, output_type: reader.optional_type()? })
    }
}

impl Stored for Slice {
    const NAME: &'static str = "tract.Slice";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.value(&self.axis)?;
        writer.expressions([&self.start, &self.end])
    }

    fn read(reader: &mut Reader) -> Result<Slice> {
        let axis = reader.value()?;
        match &*reader.expressions()? {
            [start, end] => Ok(Slice { axis, start: start.clone(), end: end.clone() }),
            _ => Err(malformed("a slice has a start and an end")),
        }
    }
}

/// The length is that of the node's output: tract keeps its own to itself.
impl Stored for Range {
    const NAME: &'static str = "tract.Range";

    fn write<'a>(&'a self, node: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.expressions(node.outputs[0].fact.shape.iter())
    }

    fn read(reader: &mut Reader) -> Result<Range> {
        let length = reader.expressions()?.into_iter().next();
        length.map(Range::new).ok_or_else(|| malformed("a range has a length"))
    }
}

impl Stored for MultiBroadcastTo {
    const NAME: &'static str = "tract.MultiBroadcastTo";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        writer.expressions(self.shape.iter())
    }

    fn read(reader: &mut Reader) -> Result<MultiBroadcastTo> {
        Ok(MultiBroadcastTo::new(reader.expressions()?.into()))
    }
}

impl Stored for Reduce {
    const NAME: &'static str = "tract.Reduce";

    fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
        let position = REDUCERS.iter().position(|reducer| *reducer == self.reducer);
        writer.value(&position.ok_or_else(|| unsaved(&self.name()))?)?;
        writer.value(&self.axes[..])
    }

    fn read(reader: &mut Reader) -> Result<Reduce> {
        let reducer = REDUCERS.get(reader.value::<usize>()?).ok_or_else(|| malformed("there is no such reduction"))?;
        Ok(Reduce { reducer: *reducer, axes: reader.value::<Vec<usize>>()?.into() })
    }
}

const REDUCERS: [Reducer; 11] = [
    Reducer::ArgMax(false),
    Reducer::ArgMax(true),
    Reducer::ArgMin(false),
    Reducer::ArgMin(true),
    Reducer::Max,
    Reducer::Min,
    Reducer::Prod,
    Reducer::Sum,
    Reducer::MeanOfSquares,
    Reducer::All,
    Reducer::Any,
];

/// Operators with one number, or none.
macro_rules! one_value {
    ($($operator:ident => $name:literal, $value:ident;)*) => {
        $(impl Stored for $operator {
            const NAME: &'static str = $name;

            fn write<'a>(&'a self, _: &'a TypedNode, writer: &mut Writer<'a>) -> Result<()> {
                writer.value(&self.$value)
            }

            fn read(reader: &mut Reader) -> Result<Self> {
                Ok($operator { $value: reader.value()? })
            }
        })*
    };
}

one_value! {
    GatherElements => "tract.GatherElements", axis;
    GatherNd => "tract.GatherNd", batch_dims;
    Trilu => "tract.Trilu", upper;
    TypedConcat => "tract.Concat", axis;
}

impl Stored for Iff {
    const NAME: &'static str = "tract.Iff";

    fn write<'a>(&'a self, _: &'a TypedNode, _: &mut Writer<'a>) -> Result<()> {
        Ok(())
    }

    fn read(_: &mut Reader) -> Result<Iff> {
        Ok(Iff)
    }
}
