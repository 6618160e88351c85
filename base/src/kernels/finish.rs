//! What a linear layer does with its sums.

use super::activation::Activation;
use super::simd::zip_in_place;

/// How a layer's result is joined with a second operand of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Join {
    /// A residual.
    Add,
    /// A gate, or what it lets through.
    Multiply,
}

impl Join {
    /// Name, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Join::Add => "residual",
            Join::Multiply => "gated",
        }
    }
}

/// The operand that a layer's result is joined with.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'a> {
    /// How.
    pub how: Join,
    /// `[rows, outputs]`
    pub values: &'a [f32],
}

/// `activation(sum + bias[column])`, joined with an operand.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// `[outputs]`
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) joined: Option<Joined<'a>>,
}

impl Finish<'_> {
    /// Whether sums stay as they are.
    pub(super) fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.activation == Activation::Identity && self.joined.is_none()
    }

    /// Finishes the sums of one row, of the outputs of the layer from `first_column` on, whose place in the output is `place`.
    pub(super) fn apply(&self, sums: &mut [f32], first_column: usize, place: usize) {
        let count = sums.len();
        if let Some(bias) = self.bias {
            zip_in_place(sums, &bias[first_column..][..count], |sum, bias| sum + bias);
        }
        self.activation.apply_in_place(sums);
        if let Some(Joined { how, values }) = self.joined {
            let values = &values[place..][..count];
            match how {
                Join::Add => zip_in_place(sums, values, |value, joined| value + joined),
                Join::Multiply => zip_in_place(sums, values, |value, joined| value * joined),
            }
        }
    }
}
