//! `Random`: numbers that a generator gives, another at every run. ONNX `RandomNormal`, `RandomUniform` (1 to 22) and `Multinomial` (7
//! to 22).
//!
//! Input: none; of [`Distribution::Classes`] the logarithms of the probabilities `[batch, classes]`, f32 or f64, which need not be
//! normalised. Output: `datum_type`, of that shape.

use super::plain::elements;
use crate::error::Error;
use std::f64::consts::TAU;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Random {
    /// Type of the numbers.
    pub datum_type: DatumType,
    /// How many there are.
    pub shape: TVec<TDim>,
    /// How they are distributed.
    pub distribution: Distribution,
    /// The numbers of the first run follow from it; without it they are others each time.
    pub seed: Option<f32>,
}

/// How numbers are distributed.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// By the probabilities of the input's rows.
    Classes,
    /// Around a mean, with that deviation.
    Normal {
        /// The mean.
        mean: f32,
        /// The deviation.
        scale: f32,
    },
    /// From `low` on, below `high`.
    Uniform {
        /// The least.
        low: f32,
        /// What they stay below.
        high: f32,
    },
}

impl Eq for Random {}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
struct Generator(u64);

impl Generator {
    /// A number from 0 on, below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number around 0 with deviation 1, by Box and Muller's method.
    fn normal(&mut self) -> f64 {
        let radius = (-2. * (1. - self.next()).ln()).sqrt();
        radius * (TAU * self.next()).cos()
    }

    /// The position of a class in one of these rows of probabilities' logarithms.
    fn class(&mut self, logarithms: &[f64]) -> f64 {
        let greatest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let probability = |logarithm: &f64| (logarithm - greatest).exp();
        let mut rest = self.next() * logarithms.iter().map(probability).sum::<f64>();
        let found = logarithms.iter().position(|logarithm| {
            rest -= probability(logarithm);
            rest < 0.
        });
        found.unwrap_or(logarithms.len().saturating_sub(1)) as f64
    }
}

impl Random {
    fn numbers(&self, generator: &mut Generator, shape: &[usize], inputs: &[TValue]) -> TractResult<Vec<f64>> {
        let count = shape.iter().product();
        Ok(match self.distribution {
            Distribution::Normal { mean, scale } => {
                (0..count).map(|_| f64::from(mean) + f64::from(scale) * generator.normal()).collect()
            }
            Distribution::Uniform { low, high } => {
                let (low, high) = (f64::from(low), f64::from(high));
                (0..count).map(|_| low + (high - low) * generator.next()).collect()
            }
            Distribution::Classes => {
                let logarithms = inputs.first().context("the probabilities are missing")?.cast_to::<f64>()?;
                let &[rows, classes] = logarithms.shape() else { bail!("probabilities {logarithms:?}") };
                ensure!(classes > 0 && rows == shape[0], "{count} samples of {logarithms:?}");
                let rows = elements::<f64>(&logarithms)?.chunks_exact(classes);
                rows.flat_map(|row| (0..shape[1]).map(|_| generator.class(row)).collect::<Vec<_>>()).collect()
            }
        })
    }
}

impl Op for Random {
    fn name(&self) -> StaticName {
        "Random".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Random {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        let seed = match self.seed {
            Some(seed) => u64::from(seed.to_bits()),
            None => getrandom::u64().map_err(|error| Error::internal(format!("no random numbers: {error}")))?,
        };
        Ok(Some(Box::new(Generator(seed))))
    }
}

impl OpState for Generator {
    fn eval(&mut self, context: &EvalContext, operator: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let random = operator.downcast_ref::<Random>().context("a generator of another operator")?;
        let shape = random.shape.iter().map(|size| Ok(size.eval(context.symbols).to_usize()?));
        let shape = shape.collect::<TractResult<TVec<usize>>>()?;
        let numbers = random.numbers(self, &shape, &inputs)?;
        Ok(tvec!(Tensor::from_shape(&shape, &numbers)?.cast_to_dt(random.datum_type)?.into_owned().into_tvalue()))
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        bail!("one generator serves one stream of numbers")
    }
}

impl TypedOp for Random {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.datum_type.fact(self.shape.iter())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions() {
        let count = 20_000;
        let logarithms = tensor2(&[[0f32, 3f32.ln()]]).into_tvalue();
        // Mean and mean square of the distribution.
        let cases = [
            (Distribution::Uniform { low: -1., high: 3. }, vec![], 1., 7. / 3.),
            (Distribution::Normal { mean: 2., scale: 0.5 }, vec![], 2., 4.25),
            (Distribution::Classes, vec![logarithms], 0.75, 0.75),
        ];
        for (distribution, inputs, mean, mean_square) in cases {
            let random = Random {
                datum_type: f32::datum_type(),
                shape: tvec!(1.to_dim(), count.to_dim()),
                distribution,
                seed: Some(1.),
            };
            let numbers = random.numbers(&mut Generator(1), &[1, count], &inputs).unwrap();
            let average = |of: fn(f64) -> f64| numbers.iter().map(|number| of(*number)).sum::<f64>() / count as f64;
            let found = (average(|x| x), average(|x| x * x));
            let close = (found.0 - mean).abs() < 0.05 && (found.1 - mean_square).abs() < 0.1;
            assert!(close, "{random:?}: {found:?} instead of {mean}, {mean_square}");
        }
    }

    #[test]
    fn seeds() {
        let next = |seed| Generator(seed).next();
        assert_eq!(next(7), next(7));
        assert_ne!(next(7), next(8));
    }
}
