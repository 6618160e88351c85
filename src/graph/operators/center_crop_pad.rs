//! ONNX `CenterCropPad` (18), any type. Inputs: the data; constant sizes. Attribute: `axes`, all where it is left out.

use super::{Wiring, arguments, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::center_crop_pad::CenterCropPad as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct CenterCropPad {
    axes: Option<Vec<i64>>,
}

impl Wiring for CenterCropPad {
    const OPERATOR: &'static str = "CenterCropPad";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axes"])?;
        Ok(CenterCropPad { axes: arguments::ints(node, "axes") })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let given = arguments::constant_ints(model, inputs[1], "shape")?;
        let axes = self.axes.clone().unwrap_or_else(|| (0..rank as i64).collect());
        ensure!(axes.len() == given.len(), "{} sizes for {} axes", given.len(), axes.len());
        let mut sizes: TVec<Option<usize>> = tvec!(None; rank);
        for (axis, size) in axes.into_iter().zip(given) {
            let size = usize::try_from(size).map_err(|_| unsupported(format!("size {size} is negative")))?;
            if sizes[arguments::axis(axis, rank)?].replace(size).is_some() {
                return Err(unsupported(format!("axis {axis} is given twice")));
            }
        }
        model.wire_node(prefix, PlainOperator(Operator { sizes }), &inputs[..1])
    }
}
