//! ONNX `Multinomial` (7 to 22): int32 or int64 samples of classes, whose logarithms of probabilities need not be normalised. Attributes:
//! `dtype`, `sample_size`, `seed`. The samples are not those of other engines.

use super::arguments::element_type;
use super::{Wiring, float, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::random::{Distribution, Random};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Multinomial {
    datum_type: DatumType,
    samples: usize,
    seed: Option<f32>,
}

impl Wiring for Multinomial {
    const OPERATOR: &'static str = "Multinomial";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["dtype", "sample_size", "seed"])?;
        let datum_type = element_type(node, "dtype")?.unwrap_or(i32::datum_type());
        if ![i32::datum_type(), i64::datum_type()].contains(&datum_type) {
            return Err(unsupported(format!("samples of type {datum_type:?} are not supported")));
        }
        let samples = usize::try_from(int(node, "sample_size", 1)).context("`sample_size` is negative")?;
        Ok(Multinomial { datum_type, samples, seed: float(node, "seed") })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        ensure!(shape.len() == 2, "classes of shape {shape:?}");
        let shape = tvec!(shape[0].clone(), self.samples.to_dim());
        let operator =
            Random { datum_type: self.datum_type, shape, distribution: Distribution::Classes, seed: self.seed };
        model.wire_node(prefix, operator, inputs)
    }
}
