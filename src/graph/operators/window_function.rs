//! ONNX `BlackmanWindow`, `HammingWindow` and `HannWindow` (17): `size` constant. Attributes: `output_datatype`, `periodic`.

use super::arguments::{constant_ints, element_type};
use super::{Wiring, int, only_attributes};
use crate::onnx::pb::NodeProto;
use std::f64::consts::TAU;
use tract_core::internal::*;

/// Elements of a window: no model has longer ones.
const LONGEST: usize = 1 << 24;

/// A sum of cosines over a window.
#[derive(Debug, Clone)]
struct Window {
    datum_type: DatumType,
    periodic: bool,
    /// Factor of the cosine of each multiple of the position's angle.
    cosines: &'static [f64],
}

impl Window {
    fn parse(node: &NodeProto, cosines: &'static [f64]) -> TractResult<Window> {
        only_attributes(node, &["output_datatype", "periodic"])?;
        let datum_type = element_type(node, "output_datatype")?.unwrap_or(f32::datum_type());
        Ok(Window { datum_type, periodic: int(node, "periodic", 1) == 1, cosines })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let size = constant_ints(model, inputs[0], "size")?;
        let known = size.first().and_then(|size| usize::try_from(*size).ok()).filter(|size| *size <= LONGEST);
        let size = known.with_context(|| format!("a window of size {size:?}"))?;
        let elements = tensor1(&self.elements(size)).cast_to_dt(self.datum_type)?.into_owned();
        Ok(tvec!(model.add_const(prefix, elements)?))
    }

    fn elements(&self, size: usize) -> Vec<f64> {
        let period = if self.periodic { size } else { size.saturating_sub(1) } as f64;
        let element = |position: usize| {
            let angle = TAU * position as f64 / period;
            let terms = self.cosines.iter().enumerate();
            terms.map(|(multiple, factor)| factor * (multiple as f64 * angle).cos()).sum()
        };
        (0..size).map(element).collect()
    }
}

macro_rules! windows {
    ($($type:ident, $operator:literal, $cosines:expr;)*) => {$(
        #[doc = concat!("`", $operator, "`.")]
        #[derive(Debug, Clone)]
        pub struct $type(Window);

        impl Wiring for $type {
            const OPERATOR: &'static str = $operator;

            fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
                Window::parse(node, &$cosines).map($type)
            }

            fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
                self.0.wire(prefix, model, inputs)
            }
        }
    )*};
}

windows! {
    BlackmanWindow, "BlackmanWindow", [0.42, -0.5, 0.08];
    HammingWindow, "HammingWindow", [25.0 / 46.0, -21.0 / 46.0];
    HannWindow, "HannWindow", [0.5, -0.5];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_four() {
        // By arithmetic.
        let cases: &[(&[f64], bool, [f64; 4])] = &[
            (&[0.5, -0.5], true, [0.0, 0.5, 1.0, 0.5]),
            (&[0.5, -0.5], false, [0.0, 0.75, 0.75, 0.0]),
            (&[25.0 / 46.0, -21.0 / 46.0], true, [4.0 / 46.0, 25.0 / 46.0, 1.0, 25.0 / 46.0]),
            (&[0.42, -0.5, 0.08], true, [0.0, 0.34, 1.0, 0.34]),
        ];
        for (cosines, periodic, expected) in cases {
            let window = Window { datum_type: f32::datum_type(), periodic: *periodic, cosines };
            for (element, expected) in window.elements(4).into_iter().zip(expected) {
                assert!((element - expected).abs() < 1e-12, "{cosines:?} {periodic}: {element} instead of {expected}");
            }
        }
    }
}
