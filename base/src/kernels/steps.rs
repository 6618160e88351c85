//! Arithmetic on rows of numbers, one step after the other: what quantised models do between their products, where every
//! result is rounded to an integer and back. The integers, of 16 bits at most, are held as f32, which is exact.

/// One operation on every number of a row.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Step {
    /// A number is added.
    Add(f32),
    /// Multiplied by a number.
    Multiply(f32),
    /// Divided by a number.
    Divide(f32),
    /// The hyperbolic tangent.
    Tanh,
    /// The square root.
    SquareRoot,
    /// One divided by it.
    Reciprocal,
    /// Rounded to an integer, halves to even.
    Round,
    /// Brought between two integers; NaN becomes 0, as where it is converted to an integer.
    Saturate {
        /// The least integer.
        lowest: f32,
        /// The greatest integer.
        highest: f32,
    },
}

impl Step {
    /// ONNX `QuantizeLinear` to integers between `lowest` and `highest`.
    pub fn quantize(scale: f32, zero_point: f32, [lowest, highest]: [f32; 2]) -> [Step; 4] {
        [Step::Divide(scale), Step::Round, Step::Add(zero_point), Step::Saturate { lowest, highest }]
    }

    /// ONNX `DequantizeLinear`.
    pub fn dequantize(scale: f32, zero_point: f32) -> [Step; 2] {
        [Step::Add(-zero_point), Step::Multiply(scale)]
    }

    /// Replaces every number of the row.
    pub fn apply(self, row: &mut [f32]) {
        match self {
            Step::Add(number) => each(row, |x| x + number),
            Step::Multiply(number) => each(row, |x| x * number),
            Step::Divide(number) => each(row, |x| x / number),
            Step::Tanh => each(row, f32::tanh),
            Step::SquareRoot => each(row, f32::sqrt),
            Step::Reciprocal => each(row, f32::recip),
            Step::Round => each(row, f32::round_ties_even),
            // An integer has no sign of zero.
            Step::Saturate { lowest, highest } => {
                each(row, |x| if x.is_nan() { 0.0 } else { x.clamp(lowest, highest) + 0.0 });
            }
        }
    }

    /// What the steps make of one number.
    pub fn of_number(steps: &[Step], number: f32) -> f32 {
        let mut row = [number];
        steps.iter().for_each(|step| step.apply(&mut row));
        row[0]
    }
}

fn each(row: &mut [f32], function: impl Fn(f32) -> f32) {
    row.iter_mut().for_each(|x| *x = function(*x));
}

/// com.microsoft `QLinearSoftmax` of rows, as ONNX Runtime computes it: exponentials from a table. Integers in, integers out.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QuantizedSoftmax {
    /// Of the row.
    pub scale: f32,
    /// Of the result.
    pub out_scale: f32,
    /// Of the result.
    pub zero_point: f32,
    /// The result's greatest integer.
    pub highest: f32,
}

impl QuantizedSoftmax {
    /// Exponentials of the 256 distances below the greatest value of a row of that length, shifted up so far that a row's
    /// sum stays finite.
    pub fn table(&self, len: usize) -> [f32; 256] {
        let scale = f64::from(self.scale);
        let shift = (f64::from((f32::MAX / len as f32).ln()) - 5.0).max(0.0) / scale;
        std::array::from_fn(|distance| ((shift - distance as f64) * scale).exp() as f32)
    }

    /// Replaces a row; `table` is that of its length.
    pub fn apply(&self, table: &[f32; 256], row: &mut [f32]) {
        let steps = (1.0 / self.out_scale).floor();
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        each(row, |value| table[(greatest - value) as usize]);
        let sum: f32 = row.iter().sum();
        // A scale that is not finite makes NaN, which is 0 as an integer.
        let integer = |exponential: f32| (exponential * steps / sum).round_ties_even() as i32 as f32;
        each(row, |exponential| (integer(exponential) + self.zero_point).min(self.highest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_quantisation() {
        struct Case {
            what: &'static str,
            steps: Vec<Step>,
            x: f32,
            expected: f32,
        }
        let case = |what, steps: &[Step], x, expected| Case { what, steps: steps.to_vec(), x, expected };
        let quantize = Step::quantize(0.5, 3.0, [0.0, 255.0]);
        let pair = [&quantize[..], &Step::dequantize(0.5, 3.0)].concat();
        // By the definitions of ONNX.
        let cases = [
            case("a half goes to the even integer", &quantize, 1.25, 5.0),
            case("so does the next one", &quantize, 1.75, 7.0),
            case("saturated below", &quantize, -9.0, 0.0),
            case("minus infinity", &quantize, f32::NEG_INFINITY, 0.0),
            case("saturated above", &quantize, 1e9, 255.0),
            case("NaN", &quantize, f32::NAN, 0.0),
            case("and back", &pair, 1.3, 1.5),
            case("a root", &[Step::SquareRoot], 9.0, 3.0),
            case("a reciprocal root", &[Step::SquareRoot, Step::Reciprocal], 4.0, 0.5),
            case("a cap", &[Step::Divide(2.0), Step::Tanh, Step::Multiply(2.0)], 1e9, 2.0),
        ];
        for case in cases {
            assert_eq!(Step::of_number(&case.steps, case.x), case.expected, "{}", case.what);
        }
    }
}
