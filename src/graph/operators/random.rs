//! ONNX `RandomNormal`, `RandomNormalLike`, `RandomUniform` and `RandomUniformLike` (1 to 22), float32 or float64. Attributes: `dtype`,
//! `seed`; `mean` and `scale`, or `low` and `high`; `shape`, but that of the operand where it is to be like one. The numbers are not
//! those of other engines.

use super::arguments::{element_type, ints};
use super::{Wiring, float, only_attributes, unsupported, window};
use crate::onnx::pb::NodeProto;
use crate::ops::random::{Distribution, Random};
use tract_core::internal::*;

/// What the four have in common.
#[derive(Debug, Clone)]
struct Numbers {
    datum_type: Option<DatumType>,
    shape: Option<Vec<usize>>,
    distribution: Distribution,
    seed: Option<f32>,
}

impl Numbers {
    fn parse(node: &NodeProto, distribution: Distribution, like: bool) -> TractResult<Numbers> {
        let names: &[&str] = match distribution {
            Distribution::Normal { .. } => &["dtype", "mean", "scale", "seed", "shape"],
            _ => &["dtype", "high", "low", "seed", "shape"],
        };
        only_attributes(node, if like { &names[..4] } else { names })?;
        let shape = ints(node, "shape").map(|shape| window::sizes("shape", &shape)).transpose()?;
        Ok(Numbers { datum_type: element_type(node, "dtype")?, shape, distribution, seed: float(node, "seed") })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let like = inputs.first().map(|input| model.outlet_fact(*input)).transpose()?;
        let datum_type = self.datum_type.or(like.map(|like| like.datum_type)).unwrap_or(f32::datum_type());
        if ![f32::datum_type(), f64::datum_type()].contains(&datum_type) {
            return Err(unsupported(format!("random numbers of type {datum_type:?} are not supported")));
        }
        let shape = match (&self.shape, like) {
            (Some(shape), _) => shape.iter().map(|size| size.to_dim()).collect(),
            (None, Some(like)) => like.shape.to_tvec(),
            (None, None) => bail!("there is no shape"),
        };
        let operator = Random { datum_type, shape, distribution: self.distribution.clone(), seed: self.seed };
        model.wire_node(prefix, operator, &[])
    }
}

fn normal(node: &NodeProto) -> Distribution {
    let (mean, scale) = (float(node, "mean").unwrap_or(0.0), float(node, "scale").unwrap_or(1.0));
    Distribution::Normal { mean, scale }
}

fn uniform(node: &NodeProto) -> Distribution {
    Distribution::Uniform { low: float(node, "low").unwrap_or(0.0), high: float(node, "high").unwrap_or(1.0) }
}

macro_rules! distributions {
    ($($type:ident, $operator:literal, $distribution:expr, $like:literal;)*) => {$(
        #[doc = concat!("`", $operator, "`.")]
        #[derive(Debug, Clone)]
        pub struct $type(Numbers);

        impl Wiring for $type {
            const OPERATOR: &'static str = $operator;

            fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
                Numbers::parse(node, $distribution(node), $like).map($type)
            }

            fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
                self.0.wire(prefix, model, inputs)
            }
        }
    )*};
}

distributions! {
    Normal, "RandomNormal", normal, false;
    NormalLike, "RandomNormalLike", normal, true;
    Uniform, "RandomUniform", uniform, false;
    UniformLike, "RandomUniformLike", uniform, true;
}
