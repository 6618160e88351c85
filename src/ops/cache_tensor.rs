//! The tensor of a cache of keys or values: `[batch, heads, length, dim]`, with room behind each head's rows, so that appending
//! writes new rows only.
//!
//! A tensor never changes: appending gives a longer one that shares the memory, and the shorter one stays what it was. Only where
//! something else was appended to the shorter one before, the new one gets memory of its own.

use super::{f32_slice, f32_tensor};
use std::fmt;
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tract_core::internal::*;

/// Rows of a cache that is begun: as many again as there are in four, and some for a short one.
fn roomy(length: usize) -> usize {
    length + length / 4 + 64
}

/// Memory that tensors of several lengths share.
struct Rows {
    /// `[batch, heads, capacity, dim]`
    elements: Vec<f32>,
    capacity: usize,
    /// Rows of each head that hold something.
    written: usize,
}

/// Storage of a tensor of a cache.
pub struct CacheStorage {
    rows: Arc<RwLock<Rows>>,
    batch: usize,
    heads: usize,
    length: usize,
    dim: usize,
    /// The rows side by side, for those who know only plain tensors.
    plain: OnceLock<Tensor>,
    /// Whether `plain` was written to: then it is all that counts.
    changed: bool,
}

/// The rows of a cache, to read.
pub struct CacheRows<'a> {
    rows: RwLockReadGuard<'a, Rows>,
    /// Rows from one head to the next.
    pub capacity: usize,
}

impl CacheRows<'_> {
    /// All memory: row `position` of a head starts at `((batch * heads + head) * capacity + position) * dim`.
    pub fn elements(&self) -> &[f32] {
        &self.rows.elements
    }
}

impl CacheStorage {
    /// The cache behind a tensor, unless that was reshaped or written to: then it is a plain one.
    pub fn of(tensor: &Tensor) -> Option<&CacheStorage> {
        let is_whole = |cache: &&CacheStorage| {
            tensor.shape() == [cache.batch, cache.heads, cache.length, cache.dim] && !cache.changed
        };
        tensor.storage_as::<CacheStorage>().filter(is_whole)
    }

    /// A tensor of the first `length` rows of each head, followed by `tokens` ones that `write` fills: it is given the place of
    /// the head, counted over all sequences, and the memory of its new rows.
    pub fn appended(past: &Tensor, tokens: usize, mut write: impl FnMut(usize, &mut [f32])) -> TractResult<Tensor> {
        let &[batch, heads, length, dim] = past.shape() else { bail!("a cache has four axes, not {:?}", past.shape()) };
        let rows = match CacheStorage::of(past).filter(|cache| cache.is_last()) {
            Some(cache) => cache.rows.clone(),
            None => Arc::new(RwLock::new(Rows::copied(past, roomy(length + tokens))?)),
        };
        {
            let mut rows = written(&rows);
            rows.make_room(length + tokens, batch * heads, dim);
            let stride = rows.capacity * dim;
            for head in 0..batch * heads {
                let start = head * stride + length * dim;
                write(head, &mut rows.elements[start..start + tokens * dim]);
            }
            rows.written = length + tokens;
        }
        let length = length + tokens;
        let storage = CacheStorage { rows, batch, heads, length, dim, plain: OnceLock::new(), changed: false };
        Ok(Tensor::from_storage(f32::datum_type(), &[batch, heads, length, dim], storage))
    }

    /// The rows, to read.
    pub fn read(&self) -> CacheRows<'_> {
        let rows = self.rows.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        CacheRows { capacity: rows.capacity, rows }
    }

    /// Whether nothing was appended yet.
    fn is_last(&self) -> bool {
        self.read().rows.written == self.length
    }

    fn plain(&self) -> TractResult<&Tensor> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let rows = self.read();
        let width = self.length * self.dim;
        let tensor = f32_tensor(&[self.batch, self.heads, self.length, self.dim], |out| {
            for (head, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
                out.copy_from_slice(&rows.elements()[head * rows.capacity * self.dim..][..width]);
            }
            Ok(())
        })?;
        Ok(self.plain.get_or_init(|| tensor))
    }
}

impl Rows {
    /// The rows of a tensor, with room for `capacity`.
    fn copied(past: &Tensor, capacity: usize) -> TractResult<Rows> {
        let &[batch, heads, length, dim] = past.shape() else { bail!("a cache has four axes, not {:?}", past.shape()) };
        let mut elements = vec![0.0; batch * heads * capacity * dim];
        if length * dim > 0 {
            let past = f32_slice(past)?;
            for (out, past) in elements.chunks_exact_mut(capacity * dim).zip(past.chunks_exact(length * dim)) {
                out[..length * dim].copy_from_slice(past);
            }
        }
        Ok(Rows { elements, capacity, written: length })
    }

    /// Makes the capacity at least `length`.
    fn make_room(&mut self, length: usize, heads: usize, dim: usize) {
        if length <= self.capacity {
            return;
        }
        let capacity = roomy(length);
        let mut elements = vec![0.0; heads * capacity * dim];
        let used = self.written * dim;
        if used > 0 {
            for (out, own) in
                elements.chunks_exact_mut(capacity * dim).zip(self.elements.chunks_exact(self.capacity * dim))
            {
                out[..used].copy_from_slice(&own[..used]);
            }
        }
        (self.elements, self.capacity) = (elements, capacity);
    }
}

fn written(rows: &RwLock<Rows>) -> RwLockWriteGuard<'_, Rows> {
    rows.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl PartialEq for CacheStorage {
    fn eq(&self, other: &Self) -> bool {
        let changed = self.changed || other.changed;
        Arc::ptr_eq(&self.rows, &other.rows) && self.length == other.length && !changed
    }
}

impl Eq for CacheStorage {}

impl fmt::Debug for CacheStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cache of {} rows", self.length)
    }
}

impl fmt::Display for CacheStorage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// For all who know only plain tensors this is one: the rows are copied side by side when they are first asked for.
impl TensorStorage for CacheStorage {
    fn byte_len(&self) -> usize {
        self.batch * self.heads * self.length * self.dim * size_of::<f32>()
    }

    fn is_empty(&self) -> bool {
        self.byte_len() == 0
    }

    fn deep_clone(&self) -> Box<dyn TensorStorage> {
        let CacheStorage { batch, heads, length, dim, changed, .. } = *self;
        let plain = if changed { self.plain.clone() } else { OnceLock::new() };
        Box::new(CacheStorage { rows: self.rows.clone(), batch, heads, length, dim, plain, changed })
    }

    fn as_plain_ram(&self) -> Option<&PlainStorage> {
        self.plain.get().and_then(Tensor::as_plain_ram_storage)
    }

    fn as_plain_ram_mut(&mut self) -> Option<&mut PlainStorage> {
        self.plain().ok()?;
        self.changed = true;
        self.plain.get_mut()?.as_plain_ram_storage_mut()
    }

    fn into_plain_ram(self: Box<Self>) -> Option<PlainStorage> {
        self.materialize_plain_ram().ok().cloned()
    }

    fn dyn_hash(&self, state: &mut dyn std::hash::Hasher) {
        state.write_usize(Arc::as_ptr(&self.rows).addr());
        state.write_usize(self.length);
    }

    fn exotic_fact(&self, _: &[usize]) -> TractResult<Option<Box<dyn ExoticFact>>> {
        Ok(None)
    }

    fn is_exotic(&self) -> bool {
        false
    }

    fn materialize_plain_ram(&self) -> TractResult<&PlainStorage> {
        self.plain()?.as_plain_ram_storage().context("a plain tensor is plain")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of two heads, one sequence and one element a row; the second head's rows are the first one's, less 100.
    fn begun(rows: &[f32]) -> Tensor {
        let elements: Vec<f32> = rows.iter().copied().chain(rows.iter().map(|row| row - 100.0)).collect();
        Tensor::from_shape(&[1, 2, rows.len(), 1], &elements).unwrap()
    }

    fn append(past: &Tensor, rows: &[f32]) -> Tensor {
        let write = |head: usize, out: &mut [f32]| {
            out.iter_mut().zip(rows).for_each(|(out, row)| *out = row - 100.0 * head as f32);
        };
        CacheStorage::appended(past, rows.len(), write).unwrap()
    }

    fn memory(tensor: &Tensor) -> *const f32 {
        tensor.storage_as::<CacheStorage>().unwrap().read().elements().as_ptr()
    }

    fn assert_rows(what: &str, tensor: &Tensor, rows: &[f32]) {
        assert_eq!(tensor.shape(), [1, 2, rows.len(), 1], "{what}");
        assert_eq!(f32_slice(tensor).unwrap(), f32_slice(&begun(rows)).unwrap(), "{what}");
    }

    #[test]
    fn longer_tensors_share_memory_and_leave_shorter_ones_alone() {
        struct Case {
            what: &'static str,
            past: &'static [f32],
            new: &'static [f32],
        }
        let cases = [
            Case { what: "an empty past", past: &[], new: &[1.0, 2.0] },
            Case { what: "one token", past: &[1.0, 2.0], new: &[3.0] },
            Case { what: "no token", past: &[1.0, 2.0], new: &[] },
        ];
        for Case { what, past, new } in cases {
            let first = append(&begun(past), new);
            let mut rows = [past, new].concat();
            assert_rows(what, &first, &rows);
            let second = append(&first, &[7.0]);
            assert_eq!(memory(&first), memory(&second), "{what}: appended in place");
            let other = append(&first, &[8.0, 9.0]);
            assert_ne!(memory(&first), memory(&other), "{what}: another continuation has its own memory");
            let copied = append(&second.clone(), &[10.0]);
            assert_rows(what, &first, &rows);
            rows.push(7.0);
            assert_rows(what, &second, &rows);
            assert_rows(what, &copied, &[&rows[..], &[10.0]].concat());
            assert_rows(what, &other, &[past, new, &[8.0, 9.0]].concat());
        }
    }

    #[test]
    fn room_is_made_where_there_is_none() {
        let mut cache = append(&begun(&[]), &[0.0]);
        let early = cache.clone();
        for row in 1..500 {
            cache = append(&cache, &[row as f32]);
        }
        let rows: Vec<f32> = (0..500).map(|row| row as f32).collect();
        assert_rows("500 tokens", &cache, &rows);
        assert_rows("the first of them", &early, &rows[..1]);
    }

    #[test]
    fn written_and_reshaped_tensors_are_plain() {
        let cache = append(&begun(&[1.0, 2.0]), &[3.0]);
        let mut negated = cache.clone();
        let mut elements = negated.try_as_plain_ram_mut().unwrap();
        elements.as_slice_mut::<f32>().unwrap().iter_mut().for_each(|element| *element = -*element);
        let mut reshaped = cache.clone();
        reshaped.set_shape(&[2, 1, 3, 1]).unwrap();
        let cases: [(&str, Tensor, &[f32]); 3] = [
            ("negated", negated.clone(), &[-1.0, -2.0, -3.0, 99.0, 98.0, 97.0]),
            ("negated, then continued", append(&negated, &[7.0]), &[-1.0, -2.0, -3.0, 7.0, 99.0, 98.0, 97.0, -93.0]),
            ("reshaped, then continued", append(&reshaped, &[7.0]), &[1.0, 2.0, 3.0, 7.0, -99.0, -98.0, -97.0, -93.0]),
        ];
        for (what, tensor, expected) in cases {
            assert_eq!(f32_slice(&tensor).unwrap(), expected, "{what}");
        }
        assert!(CacheStorage::of(&negated).is_none() && CacheStorage::of(&reshaped).is_none());
        assert!(negated != cache && negated.clone() == negated);
        assert_rows("the cache itself", &cache, &[1.0, 2.0, 3.0]);
    }

    #[test]
    fn only_tensors_of_four_axes_are_caches() {
        assert!(CacheStorage::appended(&Tensor::zero::<f32>(&[2, 3]).unwrap(), 1, |_, _| ()).is_err());
        assert!(CacheStorage::appended(&Tensor::zero::<i64>(&[1, 1, 1, 1]).unwrap(), 1, |_, _| ()).is_err());
    }
}
