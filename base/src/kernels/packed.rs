//! Packed weights as bytes, in the very layout that kernels read, so that they can be stored and taken up again unchanged.

pub use super::block_weights::BlockWeights;
use crate::error::{Error, Result};
use bytemuck::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The parts of stored weights, one after the other.
pub trait Parts {
    /// Bytes of the next part; no more than there are.
    ///
    /// # Errors
    /// `InvalidModel` where there is none.
    fn next_len(&mut self) -> Result<usize>;

    /// Reads the next part, which has as many bytes as [`Parts::next_len`] has just said.
    ///
    /// # Errors
    /// `IntegrityError` for bytes that are not those that were stored; those of the file.
    fn read_next(&mut self, bytes: &mut [u8]) -> Result<()>;
}

/// Weights that can be stored as they lie in memory.
pub trait Packed: Sized {
    /// What is told of them beside their bytes.
    type Form: Serialize + DeserializeOwned;

    /// Their form.
    fn form(&self) -> Self::Form;

    /// Their bytes; nothing of what is [shared](Packed::shared_blocks).
    fn parts(&self) -> Vec<&[u8]>;

    /// The weights in blocks that they may have in common with others.
    fn shared_blocks(&self) -> Option<&Arc<BlockWeights>> {
        None
    }

    /// Takes up what was stored.
    ///
    /// # Errors
    /// `InvalidModel` where form and parts do not fit each other; those of `parts`.
    fn from_parts(form: Self::Form, blocks: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<Self>;
}

/// As many elements as fill the next part.
pub fn take_all<T: Pod>(parts: &mut dyn Parts) -> Result<Vec<T>> {
    let bytes = parts.next_len()?;
    if !bytes.is_multiple_of(size_of::<T>()) {
        return Err(misfit(format!("{bytes} bytes hold no whole number of elements")));
    }
    let mut elements = vec![T::zeroed(); bytes / size_of::<T>()];
    parts.read_next(bytemuck::cast_slice_mut(&mut elements))?;
    Ok(elements)
}

/// The next part, which must have so many elements; `None` stands for more than can be counted.
pub(super) fn take<T: Pod>(parts: &mut dyn Parts, count: Option<usize>) -> Result<Vec<T>> {
    let (expected, bytes) = (count.and_then(|count| count.checked_mul(size_of::<T>())), parts.next_len()?);
    if expected != Some(bytes) {
        return Err(misfit(format!("{bytes} bytes where {} are expected", expected.unwrap_or(usize::MAX))));
    }
    take_all(parts)
}

/// The error of weights whose form and bytes do not fit each other.
pub(super) fn misfit(what: String) -> Error {
    Error::invalid_model(format!("stored weights are not well formed: {what}"))
}

impl Packed for Vec<f32> {
    type Form = ();

    fn form(&self) {}

    fn parts(&self) -> Vec<&[u8]> {
        vec![bytemuck::cast_slice(self)]
    }

    fn from_parts(_: (), _: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<Vec<f32>> {
        take_all(parts)
    }
}
