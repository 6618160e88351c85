//! ONNX `Gemm` (9 to 13): `alpha · A × B + beta · C` of matrices, where `C` is optional and broadcasts to the product.
//! Attributes: `alpha`, `beta`, `transA`, `transB`. In float32 a constant `B` makes it a [`Linear`]; matrices of float64 are an
//! [`EinSum`].

use super::compose::Composer;
use super::mat_mul::product;
use super::{Wiring, constant, constant_f32, float, input, int, only_attributes, unsupported};
use crate::graph::fuse::matrix;
use crate::onnx::pb::NodeProto;
use crate::ops::einsum::EinSum;
use crate::ops::plain::PlainOperator;
use crate::ops::{Linear, Shared};
use tract_core::internal::*;
use tract_core::ops::math::{add, mul};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Gemm {
    alpha: f32,
    beta: f32,
    transpose_left: bool,
    transpose_right: bool,
    addend: Option<usize>,
}

impl Wiring for Gemm {
    const OPERATOR: &'static str = "Gemm";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &Gemm::ATTRIBUTES)?;
        Ok(Gemm::of(node))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        Ok(tvec!(self.compose(&mut Composer::new(prefix, model), inputs)?))
    }
}

impl Gemm {
    /// Names of the attributes.
    pub const ATTRIBUTES: [&'static str; 4] = ["alpha", "beta", "transA", "transB"];

    /// Reads the attributes.
    pub fn of(node: &NodeProto) -> Gemm {
        Gemm {
            alpha: float(node, "alpha").unwrap_or(1.0),
            beta: float(node, "beta").unwrap_or(1.0),
            transpose_left: int(node, "transA", 0) != 0,
            transpose_right: int(node, "transB", 0) != 0,
            addend: input(node, 2),
        }
    }

    /// Wires the product and the sum.
    pub fn compose(&self, composer: &mut Composer, inputs: &[OutletId]) -> TractResult<OutletId> {
        ensure!(inputs.len() >= 2 + self.addend.is_some() as usize, "an input is missing");
        for operand in &inputs[..2] {
            ensure!(composer.fact(*operand)?.rank() == 2, "Gemm takes matrices");
        }
        let datum_type = composer.fact(inputs[0])?.datum_type;
        let addend = self.addend.map(|at| inputs[at]);
        if datum_type == f64::datum_type() {
            let product = self.float64_product(composer, inputs)?;
            return self.add(composer, product, addend);
        }
        if datum_type != f32::datum_type() {
            return Err(unsupported("only float32 and float64 are supported"));
        }
        let left = if self.transpose_left { composer.wire(AxisOp::Move(0, 1), &inputs[..1])? } else { inputs[0] };
        match linear(composer, inputs[1], self.transpose_right, self.alpha)? {
            Some(linear) => self.linear(composer, left, linear, addend),
            None => {
                let right = inputs[1];
                let right = if self.transpose_right { composer.wire(AxisOp::Move(0, 1), &[right])? } else { right };
                let product = product(composer, left, right)?;
                let product = scaled(composer, product, self.alpha)?;
                self.add(composer, product, addend)
            }
        }
    }

    fn linear(
        &self,
        composer: &mut Composer,
        x: OutletId,
        linear: Linear,
        addend: Option<OutletId>,
    ) -> TractResult<OutletId> {
        let bias = addend.map(|addend| bias(composer, addend, linear.outputs)).transpose()?.flatten();
        match bias {
            Some(mut bias) => {
                bias.iter_mut().for_each(|element| *element *= self.beta);
                composer.wire(Linear { bias: Some(Shared::new(bias)), ..linear }, &[x])
            }
            None => {
                let product = composer.wire(linear, &[x])?;
                self.add(composer, product, addend)
            }
        }
    }

    fn float64_product(&self, composer: &mut Composer, inputs: &[OutletId]) -> TractResult<OutletId> {
        let left = if self.transpose_left { "km" } else { "mk" };
        let right = if self.transpose_right { "nk" } else { "kn" };
        let product = EinSum { operands: vec![left.into(), right.into()], result: "mn".into() };
        let product = composer.wire(PlainOperator(product), &inputs[..2])?;
        scaled(composer, product, self.alpha)
    }

    fn add(&self, composer: &mut Composer, product: OutletId, addend: Option<OutletId>) -> TractResult<OutletId> {
        let Some(addend) = addend else { return Ok(product) };
        let addend = scaled(composer, addend, self.beta)?;
        composer.binary(add(), product, addend)
    }
}

/// The operator with the weights of a product whose right operand is a constant float32 matrix.
pub fn linear(composer: &mut Composer, right: OutletId, transpose: bool, alpha: f32) -> TractResult<Option<Linear>> {
    let Some(constant) = constant(composer.model(), right)?.filter(|constant| constant.rank() == 2) else {
        return Ok(None);
    };
    matrix(&constant, transpose, alpha).map(Some)
}

/// The constant that is added to every row, if there is one.
fn bias(composer: &mut Composer, addend: OutletId, outputs: usize) -> TractResult<Option<Vec<f32>>> {
    let columns = composer.shape(addend)?.last().map_or(1.to_dim(), TDim::clone);
    let Some(elements) = constant_f32(composer.model(), addend)? else { return Ok(None) };
    Ok(match elements.len() {
        1 => Some(vec![elements[0]; outputs]),
        _ if elements.len() == outputs && columns == outputs.to_dim() => Some(elements),
        _ => None,
    })
}

fn scaled(composer: &mut Composer, outlet: OutletId, factor: f32) -> TractResult<OutletId> {
    if factor == 1.0 { Ok(outlet) } else { composer.binary_with(mul(), outlet, factor) }
}
