//! `Pad`: ONNX `Pad` (2 to 25), any type.
//!
//! Inputs: `data`; for [`PadMode::Constant`] a tensor of one element, the value of the padding. Output: `data` with each axis
//! longer by its pads. A negative pad crops before the axis is padded.

use super::elements::{Places, pick, places};
use tract_core::internal::*;

/// What stands in the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    /// One value.
    Constant,
    /// The data mirrored at its first and last element, over and over.
    Reflect,
    /// The first and the last element.
    Edge,
    /// The data repeated.
    Wrap,
}

impl PadMode {
    /// The place in an axis of `size` elements of what stands at `position`, which may lie outside it.
    fn place(self, position: i64, size: i64) -> Option<i64> {
        if (0..size).contains(&position) {
            return Some(position);
        }
        match self {
            PadMode::Constant => None,
            PadMode::Edge => Some(position.clamp(0, size - 1)),
            PadMode::Wrap => Some(position.rem_euclid(size)),
            PadMode::Reflect if size == 1 => Some(0),
            PadMode::Reflect => {
                let period = 2 * (size - 1);
                let within = position.rem_euclid(period);
                Some(within.min(period - within))
            }
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pad {
    /// Elements added before and after each axis.
    pub pads: Vec<(TDim, TDim)>,
    /// What they are.
    pub mode: PadMode,
}

impl Pad {
    /// For each position of the padded axis its place in the axis.
    fn axis(&self, size: usize, (before, after): (i64, i64)) -> TractResult<Places> {
        let size = size as i64;
        let padded = size + before + after;
        ensure!(padded >= 0, "pads {before} and {after} of an axis of size {size}");
        let (start, end) = ((-before).max(0), size - (-after).max(0));
        let kept = end - start;
        ensure!(kept > 0 || padded == 0 || self.mode == PadMode::Constant, "nothing is left to be repeated");
        let place = |position: i64| Some((self.mode.place(position - before.max(0), kept)? + start) as usize);
        Ok((0..padded).map(place).collect())
    }
}

impl Op for Pad {
    fn name(&self) -> StaticName {
        "Pad".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Pad {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let data = &inputs[0];
        let axes = data.shape().iter().zip(&self.pads).map(|(size, (before, after))| {
            let [before, after] = [before, after].map(|pad| pad.eval(context.symbols).to_i64());
            self.axis(*size, (before?, after?))
        });
        let axes = axes.collect::<TractResult<Vec<_>>>()?;
        let shape: Vec<usize> = axes.iter().map(|axis| axis.len()).collect();
        let zero = Tensor::zero_scalar_dt(data.datum_type())?;
        let value = inputs.get(1).map_or(&zero, |value| value);
        Ok(tvec!(pick(data, value, &shape, &places(data.shape(), &axes))?.into_tvalue()))
    }
}

impl TypedOp for Pad {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == self.pads.len(), "{} axes to pad of {:?}", self.pads.len(), inputs[0]);
        let value_fits = inputs.get(1).is_none_or(|value| value.datum_type == inputs[0].datum_type);
        ensure!(value_fits, "the value of the padding is not of the tensor's type");
        let sizes = inputs[0].shape.iter().zip(&self.pads).map(|(size, (before, after))| size.clone() + before + after);
        Ok(tvec!(inputs[0].datum_type.fact(sizes.collect::<TVec<TDim>>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(mode: PadMode, before: i64, after: i64, data: &[i32]) -> Option<Vec<i32>> {
        let operator = Pad { pads: vec![(before.into(), after.into())], mode };
        let inputs = tvec!(tensor1(data).into_tvalue(), tensor1(&[9]).into_tvalue());
        let outputs = operator.eval(&EvalContext::out_of_plan(), inputs).ok()?;
        Some(outputs[0].try_as_plain_ram().unwrap().as_slice::<i32>().unwrap().to_vec())
    }

    #[test]
    fn modes() {
        type Case = (PadMode, i64, i64, &'static [i32], Option<&'static [i32]>);
        let cases: &[Case] = &[
            (PadMode::Constant, 1, 2, &[1, 2, 3], Some(&[9, 1, 2, 3, 9, 9])),
            (PadMode::Constant, -1, 1, &[1, 2, 3], Some(&[2, 3, 9])),
            (PadMode::Constant, 2, 0, &[], Some(&[9, 9])),
            (PadMode::Constant, -2, -2, &[1, 2, 3], None),
            (PadMode::Edge, 2, 1, &[1, 2, 3], Some(&[1, 1, 1, 2, 3, 3])),
            (PadMode::Edge, 1, 0, &[], None),
            (PadMode::Wrap, 2, 4, &[1, 2, 3], Some(&[2, 3, 1, 2, 3, 1, 2, 3, 1])),
            (PadMode::Reflect, 3, 4, &[1, 2, 3], Some(&[2, 3, 2, 1, 2, 3, 2, 1, 2, 3])),
            (PadMode::Reflect, 2, 1, &[7], Some(&[7, 7, 7, 7])),
            // The crop comes first.
            (PadMode::Reflect, -1, 2, &[1, 2, 3], Some(&[2, 3, 2, 3])),
        ];
        for (mode, before, after, data, expected) in cases {
            let padded = pad(*mode, *before, *after, data);
            assert_eq!(padded.as_deref(), *expected, "{mode:?} {before} {after} {data:?}");
        }
    }

    #[test]
    fn refused() {
        let operator = Pad { pads: vec![(0.into(), 0.into())], mode: PadMode::Constant };
        assert!(operator.output_facts(&[&i32::fact([1, 2])]).is_err(), "pads of another rank");
        assert!(operator.output_facts(&[&i32::fact([1]), &f32::fact([1])]).is_err(), "a value of another type");
    }
}
