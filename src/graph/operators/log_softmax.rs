//! ONNX `LogSoftmax` (1 to 13) of floating-point tensors. Before opset 13 the axes from `axis` on count as one.

use super::{Composer, Wiring, arguments, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::{Reduce, Reducer};
use tract_core::internal::*;
use tract_core::ops::math::sub;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LogSoftmax {
    axis: i64,
    to_the_end: bool,
}

impl Wiring for LogSoftmax {
    const OPERATOR: &'static str = "LogSoftmax";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        let to_the_end = opset < 13;
        Ok(LogSoftmax { axis: int(node, "axis", if to_the_end { 1 } else { -1 }), to_the_end })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axis = arguments::axis(self.axis, rank)?;
        let axes: Vec<usize> = if self.to_the_end { (axis..rank).collect() } else { vec![axis] };
        let composer = &mut Composer::new(prefix, model);
        log_softmax(composer, inputs[0], &axes).map(|outlet| tvec!(outlet))
    }
}

/// `(x - max) - log(Σ e^(x - max))` over these axes: no difference is too large.
pub fn log_softmax(composer: &mut Composer, x: OutletId, axes: &[usize]) -> TractResult<OutletId> {
    let reduce = |reducer: Reducer| Reduce { reducer, axes: axes.to_vec() };
    let largest = composer.wire(reduce(Reducer::Max), &[x])?;
    let differences = composer.binary(sub(), x, largest)?;
    let logarithm = composer.wire(reduce(Reducer::LogSumExp), &[differences])?;
    composer.binary(sub(), differences, logarithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::f32_slice;

    #[test]
    fn large_differences() {
        struct Case {
            axis: i64,
            to_the_end: bool,
            shape: &'static [usize],
            x: &'static [f32],
            expected: Option<&'static [f32]>,
        }
        const LN_2: f32 = std::f32::consts::LN_2;
        let case = |axis, to_the_end, shape, x, expected| Case { axis, to_the_end, shape, x, expected };
        // By arithmetic.
        let cases = [
            case(-1, false, &[1, 3], &[1000., -1000., 0.], Some(&[0., -2000., -1000.])),
            case(0, false, &[2, 2], &[5., 3., 5., 103.], Some(&[-LN_2, -100., -LN_2, 0.])),
            case(1, true, &[1, 2, 1], &[7., 7.], Some(&[-LN_2, -LN_2])),
            case(2, false, &[1, 3], &[0., 0., 0.], None),
        ];
        for Case { axis, to_the_end, shape, x, expected } in cases {
            let mut model = TypedModel::default();
            let input = model.add_source("x", f32::fact(shape)).unwrap();
            let outlets = LogSoftmax { axis, to_the_end }.wire("node", &mut model, &[input]);
            let Some(expected) = expected else {
                assert!(outlets.is_err(), "axis {axis}");
                continue;
            };
            model.select_output_outlets(&outlets.unwrap()).unwrap();
            let x = Tensor::from_shape(shape, x).unwrap().into_tvalue();
            let output = model.into_runnable().unwrap().run(tvec!(x)).unwrap().remove(0);
            for (actual, expected) in f32_slice(&output).unwrap().iter().zip(expected) {
                assert!((actual - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{actual} instead of {expected}");
            }
        }
    }
}
