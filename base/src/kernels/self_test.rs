//! Runs the kernels' tables of cases on whatever machine this is: natively under `cargo test`, and inside WebAssembly,
//! where there is no test harness, through [`kernel_self_test`].

use super::{
    activation, attention, attention_by_steps, block_linear, conv, dot, embedding, gated_linear, integer_linear,
    linear, narrow_panel, norm, panel, parallel, quantize, rotary_embedding, simd, softmax, weighted_rows, windows,
};

/// A table of cases: runs them all and gives a line for each failure.
type Table = fn() -> Vec<String>;

/// Runs every table of cases. Gives a line for each failure: nothing when all hold.
pub fn kernel_self_test() -> String {
    let tables: [(&str, Table); 20] = [
        ("simd", simd::cases::failures),
        ("parallel", parallel::cases::failures),
        ("panel", panel::cases::failures),
        ("dot", dot::cases::failures),
        ("weighted rows", weighted_rows::cases::failures),
        ("activation", activation::cases::failures),
        ("narrow panel", narrow_panel::cases::failures),
        ("integer linear", integer_linear::cases::failures),
        ("quantize", quantize::cases::failures),
        ("linear", linear::cases::failures),
        ("block linear", block_linear::cases::failures),
        ("gated linear", gated_linear::cases::failures),
        ("norm", norm::cases::failures),
        ("softmax", softmax::cases::failures),
        ("attention", attention::cases::failures),
        ("attention by steps", attention_by_steps::cases::failures),
        ("rotary embedding", rotary_embedding::cases::failures),
        ("embedding", embedding::cases::failures),
        ("windows", windows::cases::failures),
        ("conv", conv::cases::failures),
    ];
    let lines = tables.iter().flat_map(|(name, failures)| failures().into_iter().map(move |line| (name, line)));
    lines.map(|(name, line)| format!("{name}: {line}\n")).collect()
}

/// `count` numbers in [-1, 1), multiples of 1/1024, the same ones for the same seed everywhere.
pub(super) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    random_bits(seed).take(count).map(|bits| (bits & 2047) as f32 / 1024.0 - 1.0).collect()
}

/// `count` bytes, the same ones for the same seed everywhere.
pub(super) fn bytes(count: usize, seed: u32) -> Vec<u8> {
    random_bits(seed).take(count).map(|bits| bits as u8).collect()
}

/// As [`bytes`], signed.
pub(super) fn signed_bytes(count: usize, seed: u32) -> Vec<i8> {
    bytes(count, seed).into_iter().map(|byte| byte as i8).collect()
}

/// The upper 16 bits of a linear congruential generator (Numerical Recipes, 2nd edition, section 7.1).
fn random_bits(seed: u32) -> impl Iterator<Item = u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(next(&seed), next).map(|state| state >> 16)
}

/// A failure where some element of `got` is further than `tolerance · max(1, |expected|)` from the expected one. NaN
/// agrees with NaN only, and an infinity with itself only.
pub(super) fn difference(what: impl Into<String>, got: &[f32], expected: &[f32], tolerance: f32) -> Option<String> {
    let what = what.into();
    if got.len() != expected.len() {
        return Some(format!("{what}: {} elements where {} are expected", got.len(), expected.len()));
    }
    let agrees = |got: f32, expected: f32| {
        got == expected
            || (got.is_nan() && expected.is_nan())
            || (got - expected).abs() <= tolerance * expected.abs().max(1.0) && expected.is_finite()
    };
    let (index, (got, expected)) =
        got.iter().zip(expected).enumerate().find(|(_, (got, expected))| !agrees(**got, **expected))?;
    Some(format!("{what}: element {index} is {got} where {expected} is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_seen() {
        const NAN: f32 = f32::NAN;
        const INFINITY: f32 = f32::INFINITY;
        let cases: [(&[f32], &[f32], bool); 10] = [
            (&[1.0, 2.0], &[1.0, 2.0], true),
            (&[1.0, 2.05], &[1.0, 2.0], true),
            (&[1.0, 2.5], &[1.0, 2.0], false),
            (&[1.0], &[1.0, 2.0], false),
            (&[NAN], &[NAN], true),
            (&[NAN], &[0.0], false),
            (&[0.0], &[NAN], false),
            (&[INFINITY], &[INFINITY], true),
            (&[INFINITY], &[1.0], false),
            (&[1.0], &[INFINITY], false),
        ];
        for (got, expected, agrees) in cases {
            assert_eq!(difference("", got, expected, 0.1).is_none(), agrees, "{got:?} {expected:?}");
        }
    }
}
