//! How ONNX operators are wired where tract's own parsers give up, answer wrongly, or lose what fusing needs.
//! One operator per file.

mod arg_extremum;
mod attention;
mod bit_cast;
mod bit_shift;
mod cast;
mod celu;
mod compress;
mod cumulative;
mod depth_to_space;
mod dequantize_linear;
mod dropout;
mod equal;
mod extrema;
mod flatten;
mod gather_nd;
mod gelu;
mod hardmax;
mod is_special;
mod layer_normalization;
mod leaky_relu;
mod mat_mul;
mod mat_mul_n_bits;
mod mean;
mod non_zero;
mod quantize_linear;
mod recurrent;
mod wires;

use crate::error::Error;
use std::fmt::Debug;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Key under which tract's own parser of an operator stays reachable.
fn stock_key(op_type: &str) -> String {
    format!("tract.{op_type}")
}

/// How an operator becomes nodes of a typed graph.
trait Wiring: Clone + Debug + Send + Sync + Sized + 'static {
    /// Operator type, with its domain when that is not ONNX's own.
    const OPERATOR: &'static str;

    /// Reads the node's attributes.
    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self>;

    /// Wires the operator; `None` leaves it to tract's own parser.
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>>;
}

/// A [`Wiring`] as tract's front end wants it.
#[derive(Debug, Clone)]
struct Forward<W> {
    wiring: W,
    stock: Option<Box<dyn InferenceOp>>,
    outputs: usize,
}

fn parse<W: Wiring>(context: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let wiring = W::parse(node, context.onnx_operator_set_version)?;
    let parser = context.framework.op_register.0.get(&stock_key(W::OPERATOR));
    let stock = parser.and_then(|parser| parser(context, node).ok()).map(|(operator, _)| operator);
    let outputs = node.output.iter().filter(|name| !name.is_empty()).count();
    Ok((expand(Forward { wiring, stock, outputs }), vec![]))
}

impl<W: Wiring> Expansion for Forward<W> {
    fn name(&self) -> StaticName {
        W::OPERATOR.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        _: &mut Solver<'r>,
        _: &'p [TensorProxy],
        _: &'p [TensorProxy],
    ) -> InferenceResult {
        bail!("the shape solver does not run")
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.wiring.wire(prefix, model, inputs)?.with_context(|| format!("{} in this form", W::OPERATOR))
    }

    fn wire_with_inference_model_and_node(
        &self,
        prefix: &str,
        source: &InferenceModel,
        node: &InferenceNode,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        if let Some(outlets) = self.wiring.wire(prefix, model, inputs)? {
            return Ok(outlets);
        }
        let stock = self.stock.as_ref().ok_or_else(|| Error::unsupported_op("this use of it is not supported"))?;
        let mapping = node.inputs.iter().copied().zip(inputs.iter().copied()).collect();
        stock.to_typed(source, node, model, &mapping)
    }
}

/// tract's ONNX front end with our operators in it.
pub fn onnx() -> Onnx {
    let mut onnx =
        tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_output_types(true).with_ignore_value_info(true);
    register::<arg_extremum::ArgMax>(&mut onnx);
    register::<arg_extremum::ArgMin>(&mut onnx);
    register::<attention::Attention>(&mut onnx);
    register::<bit_cast::BitCast>(&mut onnx);
    register::<bit_shift::BitShift>(&mut onnx);
    register::<cast::Cast>(&mut onnx);
    register::<cast::CastLike>(&mut onnx);
    register::<celu::Celu>(&mut onnx);
    register::<compress::Compress>(&mut onnx);
    register::<cumulative::CumProd>(&mut onnx);
    register::<cumulative::CumSum>(&mut onnx);
    register::<depth_to_space::DepthToSpace>(&mut onnx);
    register::<dequantize_linear::DequantizeLinear>(&mut onnx);
    register::<dropout::Dropout>(&mut onnx);
    register::<equal::Equal>(&mut onnx);
    register::<extrema::Clip>(&mut onnx);
    register::<extrema::Max>(&mut onnx);
    register::<extrema::Min>(&mut onnx);
    register::<flatten::Flatten>(&mut onnx);
    register::<gather_nd::GatherND>(&mut onnx);
    register::<gelu::Gelu>(&mut onnx);
    register::<hardmax::Hardmax>(&mut onnx);
    register::<is_special::IsInf>(&mut onnx);
    register::<is_special::IsNaN>(&mut onnx);
    register::<layer_normalization::LayerNormalization>(&mut onnx);
    register::<leaky_relu::LeakyRelu>(&mut onnx);
    register::<mat_mul::MatMul>(&mut onnx);
    register::<mat_mul_n_bits::MatMulNBits>(&mut onnx);
    register::<mean::Mean>(&mut onnx);
    register::<non_zero::NonZero>(&mut onnx);
    register::<quantize_linear::QuantizeLinear>(&mut onnx);
    register::<recurrent::Gru>(&mut onnx);
    register::<recurrent::Lstm>(&mut onnx);
    register::<recurrent::Rnn>(&mut onnx);
    onnx
}

fn register<W: Wiring>(onnx: &mut Onnx) {
    if let Some(stock) = onnx.op_register.0.get(W::OPERATOR).copied() {
        onnx.op_register.0.insert(stock_key(W::OPERATOR), stock);
    }
    onnx.op_register.insert(W::OPERATOR, parse::<W>);
}

/// Which of a node's wired inputs stands at `position`, `None` where it was left out.
fn input(node: &NodeProto, position: usize) -> Option<usize> {
    node.input.get(position).filter(|name| !name.is_empty())?;
    Some(node.input[..position].iter().filter(|name| !name.is_empty()).count())
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a tract_onnx::pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|attribute| attribute.f)
}

/// Refuses every attribute that is not among those that the operator understands.
fn only_attributes(node: &NodeProto, known: &[&str]) -> TractResult<()> {
    match node.attribute.iter().find(|attribute| !known.contains(&&*attribute.name)) {
        Some(unknown) => Err(unsupported(format!("attribute `{}` is not supported", unknown.name))),
        None => Ok(()),
    }
}

fn unsupported(message: impl Into<String>) -> TractError {
    Error::unsupported_op(message).remedy("export the model without this use of the operator").into()
}

/// The axis along which the scales of a quantised tensor vary; 0 where there is one scale for all.
fn scale_axis(model: &TypedModel, inputs: &[OutletId], axis: i64) -> TractResult<usize> {
    let rank = model.outlet_fact(inputs[0])?.rank() as i64;
    if model.outlet_fact(inputs[1])?.shape.volume() == 1.to_dim() {
        return Ok(0);
    }
    let axis = if axis < 0 { axis + rank } else { axis };
    ensure!((0..rank).contains(&axis), "axis {axis} of a tensor of rank {rank}");
    Ok(axis as usize)
}

/// The constant behind an outlet, where there is one.
fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    Ok(model.outlet_fact(outlet)?.konst.clone())
}

/// The constant f32 vector behind an outlet, where there is one.
fn constant_f32(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let tensor = constant(model, outlet)?.filter(|tensor| tensor.datum_type() == f32::datum_type());
    tensor.map(|tensor| Ok(crate::ops::f32_slice(&tensor)?.to_vec())).transpose()
}

fn is_f32(model: &TypedModel, outlets: &[OutletId]) -> TractResult<bool> {
    for outlet in outlets {
        if model.outlet_fact(*outlet)?.datum_type != f32::datum_type() {
            return Ok(false);
        }
    }
    Ok(true)
}
