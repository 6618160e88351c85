//! What the normalisations over trailing axes share: [`LayerNorm`] and [`RmsNorm`] where the size of these axes is known,
//! else the normalisation written out. The variance is the biased one.

use super::compose::Composer;
use super::constant_f32;
use crate::ops::{LayerNorm, RmsNorm, Shared};
use tract_core::internal::*;
use tract_core::ops::math::{add, div, mul, rsqrt, square, sub};
use tract_core::ops::nn::{Reduce, Reducer};

/// What is divided by the root of its mean square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The distance from the mean.
    Layer,
    /// The element itself.
    RootMeanSquare,
}

/// A normalisation over the axes from `axis` on.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation {
    /// What is normalised.
    pub kind: Kind,
    /// First axis that is normalised.
    pub axis: usize,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// What a normalisation divides by and subtracts, of size 1 along the normalised axes.
pub struct Statistics {
    /// Mean of the elements.
    pub mean: OutletId,
    /// 1 / sqrt(mean square + epsilon).
    pub inverse_deviation: OutletId,
}

impl Normalisation {
    /// Wires the normalised `x`, times `scale` and plus `bias` where there are any; these broadcast to `x`.
    pub fn wire(
        &self,
        composer: &mut Composer,
        x: OutletId,
        scale: Option<OutletId>,
        bias: Option<OutletId>,
    ) -> TractResult<OutletId> {
        let sizes = composer.shape(x)?[self.axis..].to_vec();
        let scale_vector = self.vector(composer, scale, &sizes)?;
        let known = composer.fact(x)?.datum_type == f32::datum_type() && !sizes.is_empty();
        let width = sizes.iter().product::<TDim>().to_usize().ok().or(scale_vector.as_ref().map(Vec::len));
        let Some(width) = width.filter(|_| known) else {
            return self.written_out(composer, x, scale, bias);
        };
        let bias_vector = match (&scale, &scale_vector) {
            (Some(_), None) => None,
            _ => self.vector(composer, bias, &sizes)?,
        };
        let rest = (scale.filter(|_| scale_vector.is_none()), bias.filter(|_| bias_vector.is_none()));
        let normal = self.fused(composer, x, &sizes, scale_vector.unwrap_or_else(|| vec![1.0; width]), bias_vector)?;
        affine(composer, normal, rest.0, rest.1)
    }

    /// Wires the mean and the inverse deviation of `x`, in float32.
    pub fn statistics(&self, composer: &mut Composer, x: OutletId) -> TractResult<Statistics> {
        let mean = self.mean(composer, x)?;
        let inverse_deviation = self.scaled_by_deviation(composer, x)?.1;
        Ok(Statistics {
            mean: composer.cast(mean, f32::datum_type())?,
            inverse_deviation: composer.cast(inverse_deviation, f32::datum_type())?,
        })
    }

    /// The constant behind an outlet, if it has an element for each that is normalised together. A vector of more than one
    /// element tells the size of a last axis that is not known.
    fn vector(
        &self,
        composer: &mut Composer,
        outlet: Option<OutletId>,
        sizes: &[TDim],
    ) -> TractResult<Option<Vec<f32>>> {
        let Some(outlet) = outlet else { return Ok(None) };
        let shape = composer.shape(outlet)?;
        let own: &[TDim] = &shape[shape.iter().take_while(|size| size.is_one()).count()..];
        let sizes = &sizes[sizes.iter().take_while(|size| size.is_one()).count()..];
        let fits = own == sizes || own.len() == 1 && sizes.len() == 1 && sizes[0].to_usize().is_err();
        if fits { constant_f32(composer.model(), outlet) } else { Ok(None) }
    }

    fn fused(
        &self,
        composer: &mut Composer,
        x: OutletId,
        sizes: &[TDim],
        gamma: Vec<f32>,
        beta: Option<Vec<f32>>,
    ) -> TractResult<OutletId> {
        let width = [gamma.len().to_dim()];
        let rows = if sizes.len() == 1 { x } else { composer.reshape(x, self.axis, sizes, &width)? };
        let (gamma, beta, epsilon) = (Shared::new(gamma), beta.map(Shared::new), self.epsilon);
        let normal = match self.kind {
            Kind::Layer => composer.wire(LayerNorm { gamma, beta, epsilon }, &[rows])?,
            Kind::RootMeanSquare => composer.wire(RmsNorm { gamma, epsilon }, &[rows])?,
        };
        if sizes.len() == 1 { Ok(normal) } else { composer.reshape(normal, self.axis, &width, sizes) }
    }

    fn written_out(
        &self,
        composer: &mut Composer,
        x: OutletId,
        scale: Option<OutletId>,
        bias: Option<OutletId>,
    ) -> TractResult<OutletId> {
        let (operand, inverse_deviation) = self.scaled_by_deviation(composer, x)?;
        let normal = composer.binary(mul(), operand, inverse_deviation)?;
        affine(composer, normal, scale, bias)
    }

    /// What is divided, and the inverse of the divisor.
    fn scaled_by_deviation(&self, composer: &mut Composer, x: OutletId) -> TractResult<(OutletId, OutletId)> {
        let operand = match self.kind {
            Kind::Layer => {
                let mean = self.mean(composer, x)?;
                composer.binary(sub(), x, mean)?
            }
            Kind::RootMeanSquare => x,
        };
        let squares = composer.wire(square(), &[operand])?;
        let mean_square = self.mean(composer, squares)?;
        let sum = composer.binary_with(add(), mean_square, self.epsilon)?;
        Ok((operand, composer.wire(rsqrt(), &[sum])?))
    }

    fn mean(&self, composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
        let shape = composer.shape(x)?;
        let count = composer.constant(tensor0(shape[self.axis..].iter().product::<TDim>()))?;
        let count = composer.cast(count, composer.fact(x)?.datum_type)?;
        let sum = composer.wire(Reduce::new((self.axis..shape.len()).collect(), Reducer::Sum), &[x])?;
        composer.binary(div(), sum, count)
    }
}

fn affine(
    composer: &mut Composer,
    mut x: OutletId,
    scale: Option<OutletId>,
    bias: Option<OutletId>,
) -> TractResult<OutletId> {
    if let Some(scale) = scale {
        x = composer.binary(mul(), x, scale)?;
    }
    if let Some(bias) = bias {
        x = composer.binary(add(), x, bias)?;
    }
    Ok(x)
}
