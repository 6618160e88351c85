//! ONNX `Constant` (1 to 25). Attribute: one of `value`, a tensor, `value_float`, `value_floats`, `value_int`, `value_ints`, `value_string`,
//! `value_strings`.

use super::arguments::{floats, ints, string};
use super::{Wiring, attribute, float, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::onnx::tensor_from_proto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Constant(Arc<Tensor>);

impl Wiring for Constant {
    const OPERATOR: &'static str = "Constant";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(
            node,
            &["value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"],
        )?;
        let form = node.attribute.first().context("there is no value")?;
        let value = match &*form.name {
            "value" => tensor_from_proto(form.t.as_ref().context("there is no value")?)?,
            "value_float" => tensor0(float(node, "value_float").unwrap_or_default()),
            "value_floats" => tensor1(&floats(node, "value_floats").unwrap_or_default()),
            "value_int" => tensor0(int(node, "value_int", 0)),
            "value_ints" => tensor1(&ints(node, "value_ints").unwrap_or_default()),
            "value_string" => tensor0(string(node, "value_string", "")),
            _ => tensor1(&strings(node)),
        };
        Ok(Constant(value.into_arc_tensor()))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, _: &[OutletId]) -> TractResult<TVec<OutletId>> {
        Ok(tvec!(model.add_const(prefix, self.0.clone())?))
    }
}

fn strings(node: &NodeProto) -> Vec<String> {
    let strings = attribute(node, "value_strings").map_or(&[][..], |attribute| &attribute.strings);
    strings.iter().map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}
