//! What a linear layer does with its sums.

use super::activation::Activation;
use super::panel::PanelRow;
use super::simd::zip_in_place;
use std::ops::Range;

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
    pub(super) fn apply_to_row(&self, sums: &mut [f32], first_column: usize, place: usize) {
        let count = sums.len();
        if let Some(bias) = self.bias {
            zip_in_place(sums, &bias[first_column..][..count], |sum, bias| sum + bias);
        }
        self.activation.apply_in_place(sums);
        if let Some(residual) = self.residual {
            zip_in_place(sums, &residual[place..][..count], |value, residual| value + residual);
        }
    }

    /// Finishes the sums of several rows, of which the first `columns.len()` elements are these outputs of the layer. Their
    /// residuals start at `place`, and lie `outputs` apart.
    pub(super) fn apply(&self, tile: &mut [PanelRow], columns: Range<usize>, place: usize, outputs: usize) {
        let count = columns.len();
        if let Some(bias) = self.bias {
            let bias = &bias[columns];
            tile.iter_mut().for_each(|sums| zip_in_place(&mut sums[..count], bias, |sum, bias| sum + bias));
        }
        self.activation.apply_in_place(tile.as_flattened_mut());
        if let Some(residual) = self.residual {
            for (row, values) in tile.iter_mut().enumerate() {
                let residual = &residual[place + row * outputs..][..count];
                zip_in_place(&mut values[..count], residual, |value, residual| value + residual);
            }
        }
    }
}
