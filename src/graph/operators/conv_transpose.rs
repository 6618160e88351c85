//! ONNX `ConvTranspose` (1 to 22), float32 and float64, over any number of spatial axes. Not supported is `output_shape`.

use super::compose::Composer;
use super::conv::{groups, refuse_other_types};
use super::window::{WindowAttributes, kernel_sizes, sizes};
use super::{Wiring, arguments, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::conv_transpose::ConvTranspose as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// The attributes that are understood.
const ATTRIBUTES: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ConvTranspose {
    groups: usize,
    windows: WindowAttributes,
    extra: Option<Vec<usize>>,
}

impl Wiring for ConvTranspose {
    const OPERATOR: &'static str = "ConvTranspose";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        let extra = arguments::ints(node, "output_padding").filter(|extra| !extra.is_empty());
        let extra = extra.map(|extra| sizes("output_padding", &extra)).transpose()?;
        Ok(ConvTranspose { groups: groups(node)?, windows: WindowAttributes::of(node)?, extra })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        refuse_other_types(model, inputs)?;
        let kernel = kernel_sizes(model, inputs[1])?;
        let steps = self.windows.steps(&kernel)?;
        let extra = self.extra.clone().unwrap_or_else(|| vec![0; kernel.len()]);
        let mut operands: TVec<OutletId> = inputs.into();
        operands[1] = self.by_group(&mut Composer::new(prefix, model), inputs[1])?;
        model.wire_node(prefix, PlainOperator(Operator { steps, extra }), &operands)
    }
}

impl ConvTranspose {
    /// The kernel `[channels, outputs / groups, ...]` as the operator takes it.
    fn by_group(&self, composer: &mut Composer, kernel: OutletId) -> TractResult<OutletId> {
        let shape = composer.shape(kernel)?;
        let channels = shape[0].to_usize()?;
        let fits = self.groups > 0 && channels.is_multiple_of(self.groups);
        ensure!(fits, "{channels} channels in {} groups", self.groups);
        let parts = [self.groups.to_dim(), (channels / self.groups).to_dim()];
        let grouped = composer.reshape(kernel, 0, &shape[..1], &parts)?;
        composer.wire(AxisOp::Move(1, shape.len()), &[grouped])
    }
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorCode;
    use crate::graph::testing::{graph, node, run, value};
    use crate::onnx::pb::AttributeProto;
    use crate::onnx::pb::attribute_proto::AttributeType;
    use crate::onnx::pb::tensor_proto::DataType::Float;
    use tract_core::internal::*;

    #[test]
    fn attributes() {
        // A list of the node and what comes of x = [1, 2] with w = [1, 10, 100], by hand.
        type Case = (&'static str, &'static [i64], Result<&'static [f32], ErrorCode>);
        let cases: [Case; 5] = [
            ("strides", &[2], Ok(&[1., 10., 102., 20., 200.])),
            ("output_padding", &[0], Ok(&[1., 12., 120., 200.])),
            ("pads", &[1, 2], Ok(&[12.])),
            ("pads", &[-1, 0], Err(ErrorCode::UnsupportedOp)),
            ("output_shape", &[4], Err(ErrorCode::UnsupportedOp)),
        ];
        for (name, ints, expected) in cases {
            let r#type = AttributeType::Ints as i32;
            let list = AttributeProto { name: name.into(), r#type, ints: ints.to_vec(), ..Default::default() };
            let mut node = node("ConvTranspose", &["x", "w"], &["y"]);
            node.attribute.push(list);
            let inputs = vec![value("x", Float, &[1, 1, -1]), value("w", Float, &[1, 1, 3])];
            let whole = graph(inputs, vec![], vec![node], vec![value("y", Float, &[])]);
            let x = Tensor::from_shape(&[1, 1, 2], &[1f32, 2.]).unwrap().into_tvalue();
            let w = Tensor::from_shape(&[1, 1, 3], &[1f32, 10., 100.]).unwrap().into_tvalue();
            let outputs = run(whole, &[], &[x, w]);
            let elements = outputs.as_ref().map(|outputs| crate::ops::f32_slice(&outputs[0]).unwrap());
            assert_eq!(elements.map_err(|error| error.code), expected, "{name} {ints:?}");
        }
    }
}
