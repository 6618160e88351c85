//! ONNX `STFT` (17) of floats: real or complex signals `[batch, length, 1 or 2]`.
//!
//! Inputs: the signal; `frame_step` constant; `window` `[frame]` or `frame_length` constant, or both. Attribute: `onesided`.

use super::{Wiring, arguments, input, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::short_time_fourier::ShortTimeFourier;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Stft {
    window: Option<usize>,
    frame: Option<usize>,
    one_sided: bool,
}

impl Wiring for Stft {
    const OPERATOR: &'static str = "STFT";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["onesided"])?;
        Ok(Stft { window: input(node, 2), frame: input(node, 3), one_sided: int(node, "onesided", 1) != 0 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let step = size(model, inputs[1], "frame_step")?;
        let window = self.window.map(|window| inputs[window]);
        let frame = match (window, self.frame) {
            (_, Some(frame)) => size(model, inputs[frame], "frame_length")?,
            (Some(window), None) => model.outlet_fact(window)?.shape.volume().to_usize()?,
            (None, None) => bail!("a window or the length of a frame is needed"),
        };
        let operands: TVec<OutletId> = [inputs[0]].into_iter().chain(window).collect();
        let operator = ShortTimeFourier { frame, step, one_sided: self.one_sided };
        model.wire_node(prefix, PlainOperator(operator), &operands)
    }
}

fn size(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<usize> {
    let given = arguments::constant_ints(model, outlet, what)?;
    let size = given.first().and_then(|size| usize::try_from(*size).ok()).filter(|size| *size > 0);
    size.with_context(|| format!("{what} is {given:?}"))
}
