//! ONNX `Conv` and `ConvTranspose` (1 to 22) of inputs whose channels only the kernel tells. The rest is left to tract.

use super::{Wiring, int, wire_with_tract};
use crate::ops::KnownSizes;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// The attributes of `Conv`.
pub const ATTRIBUTES: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// The node, and how its kernel tells the channels of its input: the size of that axis, times a number.
#[derive(Debug, Clone)]
struct Convolution {
    node: NodeProto,
    opset: i64,
    axis: usize,
    times: i64,
}

impl Convolution {
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let [x, kernel] = [0, 1].map(|position| model.outlet_fact(inputs[position]));
        let (x, kernel) = (x?, kernel?);
        let told = kernel.shape.get(self.axis).and_then(|size| size.to_usize().ok());
        let (Some(told), true) = (told, x.shape.get(1).is_some_and(|channels| channels.to_usize().is_err())) else {
            return Ok(None);
        };
        let size = told * usize::try_from(self.times).context("`group` is negative")?;
        let known = KnownSizes { sizes: tvec!((1, size.to_dim())) };
        let mut inputs: TVec<OutletId> = inputs.into();
        inputs[0] = model.wire_node(format!("{prefix}.channels"), known, &inputs[..1])?[0];
        wire_with_tract(&self.node, self.opset, prefix, model, &inputs).map(Some)
    }
}

macro_rules! convolutions {
    ($($type:ident, $operator:literal, $axis:literal, $times:expr;)*) => {$(
        #[doc = concat!("`", $operator, "`.")]
        #[derive(Debug, Clone)]
        pub struct $type(Convolution);

        impl Wiring for $type {
            const OPERATOR: &'static str = $operator;

            fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
                let times: fn(&NodeProto) -> i64 = $times;
                Ok($type(Convolution { node: node.clone(), opset, axis: $axis, times: times(node) }))
            }

            fn wire(
                &self,
                prefix: &str,
                model: &mut TypedModel,
                inputs: &[OutletId],
            ) -> TractResult<Option<TVec<OutletId>>> {
                self.0.wire(prefix, model, inputs)
            }
        }
    )*};
}

convolutions! {
    Conv, "Conv", 1, |node| int(node, "group", 1);
    ConvTranspose, "ConvTranspose", 0, |_| 1;
}
