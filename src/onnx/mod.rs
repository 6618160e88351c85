//! Reading ONNX files: an index of the protobuf that leaves the weights where they lie, validation, and rewriting of the
//! graph into the form that [`crate::graph`] translates.
//!
//! The way of a file: [`index`] walks the wire format through [`ReadAt`] and records each initializer's place,
//! [`validate`] refuses graphs that are not well formed, [`rewrite`] brings names, domains and symbols
//! into one form, and [`WeightStore`] reads an initializer's elements when it is wired.

mod element;
mod external;
mod functions;
mod index;
mod narrow;
pub mod pb;
mod read_at;
mod rewrite;
mod validate;
mod weights;
mod widen;
mod wire;

pub use element::{BFLOAT16, Element, INT2, UINT2, of as element_type};
#[cfg(not(target_arch = "wasm32"))]
pub use external::external_files;
pub use external::external_path;
pub use index::{Initializer, ModelIndex, index};
pub use narrow::{NARROW_TYPE, PACKED};
#[cfg(not(target_arch = "wasm32"))]
pub use read_at::FileSource;
pub use read_at::ReadAt;
#[cfg(target_arch = "wasm32")]
pub(crate) use read_at::ends_early;
pub use rewrite::{Dimension, RewrittenModel, TensorInfo, rewrite};
pub use validate::{node_name, validate};
pub use weights::{ExternalFile, WeightStore, tensor_from_proto};

/// Domain of the operators that onnxruntime adds.
pub const MICROSOFT: &str = "com.microsoft";

/// Prefix of an operator type outside ONNX's own domain, e.g. `com.microsoft.Attention`.
pub fn qualified_op_type(domain: &str, op_type: &str) -> String {
    match domain {
        "" | "ai.onnx" => op_type.to_string(),
        domain => format!("{domain}.{op_type}"),
    }
}
