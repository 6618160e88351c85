//! What a linear layer does with its sums.

use super::activation::Activation;
use super::simd::zip_in_place;

/// `activation(sum + bias[column]) + residual[row, column]`.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// `[outputs]`
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    /// `[rows, outputs]`
    pub(super) residual: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// Finishes the sums of one row, of the outputs of the layer from `first_column` on, whose residuals start at `place`.
    pub(super) fn apply(&self, sums: &mut [f32], first_column: usize, place: usize) {
        let count = sums.len();
        if let Some(bias) = self.bias {
            zip_in_place(sums, &bias[first_column..][..count], |sum, bias| sum + bias);
        }
        self.activation.apply_in_place(sums);
        if let Some(residual) = self.residual {
            zip_in_place(sums, &residual[place..][..count], |value, residual| value + residual);
        }
    }
}
