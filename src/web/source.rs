//! A file that JavaScript holds.

use super::errors::from_js;
use super::values::property;
use crate::error::{Error, Result};
use crate::onnx::{ReadAt, ends_early};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

/// Bytes copied at a time: what a read costs of JavaScript's memory.
const PIECE: usize = 1 << 20;
/// Up to here JavaScript counts bytes exactly: `Number.MAX_SAFE_INTEGER`.
const LARGEST: f64 = 9_007_199_254_740_991.0;

/// `{ size, readAt(offset, buffer) }`, where `readAt` fills the buffer wholly or throws.
pub struct JsSource {
    name: String,
    source: JsValue,
    read_at: Function,
    size: u64,
}

impl JsSource {
    /// Wraps the object; `name` is for error messages.
    pub fn new(name: &str, source: JsValue) -> Result<JsSource> {
        let wrong = || Error::invalid_input("a source must be { size, readAt }").file(name);
        let size =
            property(&source, "size")?.as_f64().filter(|size| (0.0..=LARGEST).contains(size)).ok_or_else(wrong)?;
        let read_at = property(&source, "readAt")?.dyn_into::<Function>().map_err(|_| wrong())?;
        Ok(JsSource { name: name.to_string(), source, read_at, size: size as u64 })
    }
}

impl ReadAt for JsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(ends_early(self, offset, buffer.len()));
        }
        let mut position = offset;
        for piece in buffer.chunks_mut(PIECE) {
            let copy = Uint8Array::new_with_length(piece.len() as u32);
            self.read_at
                .call2(&self.source, &JsValue::from_f64(position as f64), &copy)
                .map_err(|thrown| from_js(&thrown).file(&*self.name))?;
            copy.copy_to(piece);
            position += piece.len() as u64;
        }
        Ok(())
    }
}
