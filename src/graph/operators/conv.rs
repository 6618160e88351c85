//! ONNX `Conv` (1 to 22), which tract wires, of an input whose channels the model leaves open: the kernel says how many there are.

use super::{Wiring, int, wire_with_tract};
use crate::ops::KnownSize;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Conv {
    node: NodeProto,
    opset: i64,
}

impl Wiring for Conv {
    const OPERATOR: &'static str = "Conv";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        Ok(Conv { node: node.clone(), opset })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let channels = |input: usize| model.outlet_fact(inputs[input]).map(|fact| fact.shape.get(1).cloned());
        let (Some(open), Some(kernel)) = (channels(0)?, channels(1)?) else { return Ok(None) };
        let (Err(_), Ok(kernel)) = (open.to_usize(), kernel.to_usize()) else { return Ok(None) };
        let groups = usize::try_from(int(&self.node, "group", 1))?;
        let known = KnownSize { axis: 1, size: kernel * groups };
        let mut inputs: TVec<OutletId> = inputs.into();
        inputs[0] = model.wire_node(format!("{prefix}.channels"), known, &inputs[..1])?[0];
        wire_with_tract(&self.node, self.opset, prefix, model, &inputs).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::testing::{graph, node, run, value};
    use tract_onnx::pb::TensorProto;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::prelude::Tensor;
    use tract_onnx::tract_hir::internal::IntoTValue;

    #[test]
    fn open_channels() {
        // Channels fed, whether they are those of the kernel.
        for (channels, expected) in [(2, Some(21.0)), (3, None)] {
            let kernel = TensorProto {
                name: "kernel".into(),
                data_type: DataType::Float as i32,
                dims: vec![1, 2, 1],
                float_data: vec![1.0, 10.0],
                ..Default::default()
            };
            let convolution = graph(
                vec![value("x", DataType::Float, &[-1, -1, -1])],
                vec![kernel],
                vec![node("Conv", &["x", "kernel"], &["y"])],
                vec![value("y", DataType::Float, &[-1, 1, -1])],
            );
            let x = Tensor::from_shape(&[1, channels, 1], &[1f32, 2.0, 3.0][..channels]).unwrap();
            let outputs = run(convolution, &[], &[x.into_tvalue()]);
            let outputs =
                outputs.map(|outputs| outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec());
            match expected {
                Some(sum) => assert_eq!(outputs.unwrap(), [sum]),
                None => assert!(outputs.unwrap_err().to_string().contains("3 instead of 2")),
            }
        }
    }
}
