//! Tensors that nobody needs any longer, kept for the next results of their size: in a run like the one before, the operators that use
//! them need no new memory for what stays inside the model.
//!
//! Each thread has its own. What a run does not use again is dropped when it ends.

use std::cell::RefCell;
use std::sync::Arc;
use tract_core::internal::*;

/// Bytes that are kept at most.
const MOST_BYTES: usize = 32 << 20;

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

#[derive(Default)]
struct Spare {
    /// Each type and number of elements once: a model has few.
    sizes: Vec<Size>,
    bytes: usize,
    /// Counts runs.
    run: u64,
}

/// Tensors of one size.
struct Size {
    datum_type: DatumType,
    len: usize,
    kept: Vec<Arc<Tensor>>,
    /// The run that wanted one last.
    wanted: u64,
}

/// A new tensor all of whose elements `fill` writes.
pub(crate) fn written<T: Datum>(
    shape: &[usize],
    fill: impl FnOnce(&mut [T]) -> TractResult<()>,
) -> TractResult<TValue> {
    let mut value = unwritten(T::datum_type(), shape)?;
    let tensor = Arc::get_mut(&mut value).context("somebody else has a spare tensor")?;
    fill(tensor.try_as_plain_ram_mut()?.as_slice_mut::<T>()?)?;
    Ok(value.into_tvalue())
}

/// A tensor that nobody else has, with any elements.
fn unwritten(datum_type: DatumType, shape: &[usize]) -> TractResult<Arc<Tensor>> {
    let kept = SPARE.with_borrow_mut(|spare| spare.take(datum_type, shape.iter().product()));
    let Some(mut value) = kept else { return Ok(Tensor::zero_dt(datum_type, shape)?.into_arc_tensor()) };
    let tensor = Arc::get_mut(&mut value).context("somebody else has a spare tensor")?;
    tensor.set_shape(shape)?;
    if cfg!(debug_assertions) {
        // Whoever reads what nobody wrote shall not find zeros.
        tensor.as_bytes_mut().fill(0xff);
    }
    Ok(value)
}

/// Keeps a value for [`written`], where nobody else has it and a tensor of its size was wanted.
pub(crate) fn keep(value: TValue) {
    if value.is_exclusive() && value.is_plain_ram() {
        SPARE.with_borrow_mut(|spare| spare.keep(value.into_arc_tensor()));
    }
}

/// Drops what the run that ends here did not use.
pub(crate) fn end_run() {
    SPARE.with_borrow_mut(Spare::end_run);
}

/// Drops everything.
pub(crate) fn clear() {
    SPARE.take();
}

impl Spare {
    /// Those of a size, if one was wanted.
    fn size(&mut self, datum_type: DatumType, len: usize) -> Option<&mut Size> {
        self.sizes.iter_mut().find(|size| size.len == len && size.datum_type == datum_type)
    }

    fn take(&mut self, datum_type: DatumType, len: usize) -> Option<Arc<Tensor>> {
        let wanted = self.run;
        let Some(size) = self.size(datum_type, len) else {
            self.sizes.push(Size { datum_type, len, kept: vec![], wanted });
            return None;
        };
        size.wanted = wanted;
        let tensor = size.kept.pop()?;
        self.bytes -= bytes(&tensor);
        Some(tensor)
    }

    fn keep(&mut self, tensor: Arc<Tensor>) {
        let bytes = self.bytes + bytes(&tensor);
        if bytes <= MOST_BYTES
            && let Some(size) = self.size(tensor.datum_type(), tensor.len())
        {
            size.kept.push(tensor);
            self.bytes = bytes;
        }
    }

    fn end_run(&mut self) {
        let run = self.run;
        self.sizes.retain(|size| size.wanted == run);
        self.bytes = self.sizes.iter().flat_map(|size| &size.kept).map(|tensor| bytes(tensor)).sum();
        self.run += 1;
    }
}

fn bytes(tensor: &Tensor) -> usize {
    tensor.len() * tensor.datum_type().size_of()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor_of_ones(shape: &[usize]) -> TValue {
        written::<f32>(shape, |out| {
            out.fill(1.0);
            Ok(())
        })
        .unwrap()
    }

    fn address(value: &TValue) -> *const f32 {
        value.as_ptr::<f32>().unwrap()
    }

    fn kept_bytes() -> usize {
        SPARE.with_borrow(|spare| spare.bytes)
    }

    #[test]
    fn a_tensor_is_used_again_for_one_of_its_size() {
        clear();
        let first = tensor_of_ones(&[2, 3]);
        let (place, second) = (address(&first), first.clone());
        keep(first);
        assert_eq!(kept_bytes(), 0, "somebody else has it");
        keep(second);
        assert_eq!(kept_bytes(), 24);
        let other = tensor_of_ones(&[7]);
        let again = tensor_of_ones(&[6, 1]);
        assert_eq!((address(&again), again.shape()), (place, &[6, 1][..]));
        assert_ne!(address(&other), place);
        keep(Tensor::zero::<f32>(&[8]).unwrap().into_tvalue());
        keep(Tensor::zero::<i32>(&[7]).unwrap().into_tvalue());
        assert_eq!(kept_bytes(), 0, "nobody wanted their size");
    }

    #[test]
    fn what_a_run_does_not_use_is_dropped_and_no_more_is_kept_than_allowed() {
        clear();
        keep(tensor_of_ones(&[4]));
        keep(tensor_of_ones(&[5]));
        end_run();
        assert_eq!(kept_bytes(), 36);
        let same = tensor_of_ones(&[5]);
        keep(same);
        end_run();
        assert_eq!(kept_bytes(), 20);
        let (large, small) = (tensor_of_ones(&[MOST_BYTES / 4]), tensor_of_ones(&[1]));
        keep(large);
        assert_eq!(kept_bytes(), 20);
        keep(small);
        assert_eq!(kept_bytes(), 24);
        clear();
        assert_eq!(kept_bytes(), 0);
    }
}
