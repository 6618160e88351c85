//! Attention in which a quantised model's roundings stand between the two products.

use super::attention::{Head, check_operands, reach};
use super::dot::multiply_by_rows;
use super::panel::LeftRows;
use super::score_steps::{ScoreStep, ScoreSteps, StepMask};
use super::simd::{F32x4, LANES, zip_in_place};
use crate::attention::{AttentionCall, AttentionOperands, AttentionShape, Window};

/// Runs the call with `steps` in the place of scale, cap, mask and softmax: `out = steps(Q·Kᵀ) · V`.
///
/// # Panics
/// As [`super::attention::attention`]; and when the call has more than operands, when there is not one mask for each step that
/// reads one, or one does not reach as far as its strides say.
pub fn attention_by_steps(
    call: &AttentionCall,
    operands: &AttentionOperands,
    steps: &[ScoreStep],
    masks: &[StepMask],
    out: &mut [f32],
) {
    check(call, operands, masks, out);
    let AttentionShape { batch, heads, queries, keys, value_dim, .. } = call.shape;
    let steps = ScoreSteps::new(steps, masks, keys);
    let mut weights = vec![0.0; keys];
    for task in 0..batch * heads {
        let head = Head::new(call, operands, task);
        for query in 0..queries {
            multiply_by_keys(&head, query, &mut weights);
            steps.apply(&mut weights, |mask| head.start_in(mask, query));
            let result = &mut out[head.result_start(query)..][..value_dim];
            result.fill(0.0);
            for (key, weight) in weights.iter().enumerate() {
                let weight = F32x4::splat(*weight);
                zip_in_place(result, head.group.value(key), |sum, value| value.mul_add(weight, sum));
            }
        }
    }
}

/// [`attention_by_steps`] by its definition, with products in f64 that are rounded to f32 before each step, as in f32 models.
///
/// # Panics
/// As [`attention_by_steps`].
pub fn attention_by_steps_reference(
    call: &AttentionCall,
    operands: &AttentionOperands,
    steps: &[ScoreStep],
    masks: &[StepMask],
    out: &mut [f32],
) {
    check(call, operands, masks, out);
    let AttentionShape { batch, heads, queries, keys, value_dim, .. } = call.shape;
    let steps = ScoreSteps::new(steps, masks, keys);
    let exact = |(left, right): (&f32, &f32)| f64::from(*left) * f64::from(*right);
    for task in 0..batch * heads {
        let head = Head::new(call, operands, task);
        for query in 0..queries {
            let product = |key: usize| head.query(query).iter().zip(head.group.key(key)).map(exact).sum::<f64>();
            let mut weights: Vec<f32> = (0..keys).map(|key| product(key) as f32).collect();
            steps.apply(&mut weights, |mask| head.start_in(mask, query));
            for n in 0..value_dim {
                let element = |key: usize| f64::from(head.group.value(key)[n]);
                let sum: f64 = (0..keys).map(|key| f64::from(weights[key]) * element(key)).sum();
                out[head.result_start(query) + n] = sum as f32;
            }
        }
    }
}

/// Writes a query's products with all keys.
fn multiply_by_keys(head: &Head<'_>, query: usize, products: &mut [f32]) {
    let query = head.query(query);
    if query.len().is_multiple_of(LANES) && !products.is_empty() {
        let (left, keys) = (LeftRows { values: query, rows: 1, stride: 0 }, products.len());
        multiply_by_rows(left, head.group.keys(0..keys), query.len(), products, keys);
        return;
    }
    for (key, product) in products.iter_mut().enumerate() {
        *product = query.iter().zip(head.group.key(key)).map(|(left, right)| left * right).sum();
    }
}

fn check(call: &AttentionCall, operands: &AttentionOperands, masks: &[StepMask], out: &[f32]) {
    check_operands(call, operands, out);
    let AttentionShape { batch, heads, queries, keys, .. } = call.shape;
    let plain = call.window == Window::default() && !call.sequences && !call.sinks && call.mask.is_none();
    assert!(plain, "steps stand in the place of windows, sequences, sinks and the mask");
    for StepMask { elements, strides } in masks {
        let axes = [(batch, strides.batch), (heads, strides.head), (queries, strides.query), (keys, strides.key)];
        assert!(elements.len() >= reach(&axes, 1), "a mask reaches as far as its strides");
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::attention::MaskStrides;
    use crate::kernels::attention::attention;
    use crate::kernels::attention::cases::{call, columns, elements, operands, positions_first};
    use crate::kernels::self_test::{difference, numbers};
    use crate::kernels::steps::{QuantizedSoftmax, Step};

    const MASKED: f32 = f32::NEG_INFINITY;

    /// Holds [`attention_by_steps`] against its twin, and against [`attention`] where steps do what a call does.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let pair = |scale: f32, zero_point: f32| {
            let range = [0.0, 255.0];
            let quantize = Step::quantize(scale, zero_point, range).into_iter();
            quantize.chain(Step::dequantize(scale, zero_point)).map(ScoreStep::Each).collect::<Vec<_>>()
        };
        let scaled = ScoreStep::Each(Step::Multiply(0.5));
        let integers = QuantizedSoftmax { scale: 0.1, out_scale: 1.0 / 256.0, zero_point: 0.0, highest: 255.0 };
        let range = Step::Saturate { lowest: 0.0, highest: 255.0 };
        let to_integers = [Step::Divide(0.1), Step::Round, Step::Add(100.0), range].map(ScoreStep::Each);
        let lists = [
            ("as a call", vec![scaled, ScoreStep::AddMask, ScoreStep::Softmax]),
            ("rounded", [&pair(0.125, 100.0)[..], &[scaled, ScoreStep::Softmax], &pair(0.0039, 0.0)].concat()),
            ("two masks", vec![ScoreStep::AddMask, scaled, ScoreStep::AddMask, ScoreStep::Softmax]),
            ("replaced where 0", vec![ScoreStep::Replace { kept: true, value: MASKED }, ScoreStep::Softmax]),
            ("replaced elsewhere", vec![ScoreStep::Replace { kept: false, value: -2.0 }, ScoreStep::Softmax]),
            ("no key left", vec![ScoreStep::Each(Step::Add(MASKED)), ScoreStep::Softmax, ScoreStep::ZeroForNan]),
            (
                "integers",
                [&to_integers[..], &[ScoreStep::QuantizedSoftmax(integers), ScoreStep::Each(Step::Divide(256.0))]]
                    .concat(),
            ),
        ];
        let mut failures = Vec::new();
        for (queries, keys, head_dim) in [(1, 1, 5), (9, 33, 5), (5, 0, 5), (9, 33, 8), (5, 0, 8)] {
            let shape = AttentionShape { batch: 2, heads: 4, kv_heads: 2, queries, keys, head_dim, value_dim: 3 };
            for (what, steps) in &lists {
                for call in [call(shape, positions_first), call(shape, columns)] {
                    failures.extend(difference_of_steps(what, call, steps));
                }
            }
        }
        failures
    }

    fn difference_of_steps(what: &str, call: AttentionCall, steps: &[ScoreStep]) -> Option<String> {
        let AttentionShape { batch, heads, queries, keys, value_dim, .. } = call.shape;
        let vectors = operands(&call);
        let operands: AttentionOperands = vectors.each_ref().into();
        let results = elements(&call, &call.output, [heads, queries, value_dim]);
        let mut elements = numbers(batch * heads * queries * keys, 4);
        elements.iter_mut().step_by(3).for_each(|element| *element = 0.0);
        // Whole; the same for all heads, transposed.
        let strides = [
            MaskStrides { batch: heads * queries * keys, head: queries * keys, query: keys, key: 1 },
            MaskStrides { batch: queries * keys, head: 0, query: 1, key: queries },
        ];
        let masks = strides.map(|strides| StepMask { elements: &elements, strides });
        let masks = &masks[..steps.iter().filter(|step| step.reads_mask()).count()];
        let [mut got, mut expected] = [(); 2].map(|()| vec![12345.0; results]);
        attention_by_steps(&call, &operands, steps, masks, &mut got);
        if what == "as a call" {
            let call = AttentionCall { mask: Some(strides[0]), ..call };
            attention(&call, &AttentionOperands { mask: Some(&elements), ..operands }, &mut expected);
        } else {
            attention_by_steps_reference(&call, &operands, steps, masks, &mut expected);
        }
        difference(format!("steps, {what}, {call:?}"), &got, &expected, 2e-6)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
