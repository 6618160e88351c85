//! The table of tensors on the device, and the pool their buffers come from.

use crate::error::{Error, Result};
use std::collections::HashMap;

/// A tensor on the device. Each id is given out once; using one after its release is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(u64);

/// Free buffers beyond this many bytes go back to the device.
const MAX_POOLED_BYTES: u64 = 256 << 20;
const SMALLEST_CLASS: u64 = 256;

/// A buffer of some size class, whichever tensor it holds at present.
#[derive(Debug)]
pub(super) struct PooledBuffer {
    /// Unlike a [`BufferId`] this stays the same when the buffer is reused.
    pub serial: u64,
    pub buffer: wgpu::Buffer,
}

/// What a new tensor's contents come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A write on the queue, which happens before every command that is still to be submitted.
    Upload,
    /// A command yet to be encoded.
    Command,
}

#[derive(Debug)]
struct Tensor {
    storage: PooledBuffer,
    elements: usize,
}

/// The tensors on a device, and the buffers that wait to be used again.
#[derive(Debug)]
pub(super) struct BufferTable {
    tensors: HashMap<BufferId, Tensor>,
    free: Vec<PooledBuffer>,
    /// Free, but commands that are not submitted yet may read or write them: not to be written by an upload.
    free_after_submission: Vec<PooledBuffer>,
    next_id: u64,
    next_serial: u64,
    /// Buffers made before the one with this serial are not used again.
    oldest_trusted: u64,
    largest_buffer: u64,
}

impl BufferTable {
    /// An empty table for a device with these limits.
    pub fn new(limits: &wgpu::Limits) -> BufferTable {
        BufferTable {
            tensors: HashMap::new(),
            free: Vec::new(),
            free_after_submission: Vec::new(),
            next_id: 0,
            next_serial: 0,
            oldest_trusted: 0,
            largest_buffer: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4 * 4,
        }
    }

    /// A tensor of `elements` float32, from the pool if a buffer of its size class is free there. Its contents are arbitrary.
    pub fn create(&mut self, device: &wgpu::Device, elements: usize, source: Source) -> Result<BufferId> {
        let bytes = 4 * elements as u64;
        if bytes > self.largest_buffer {
            return Err(Error::out_of_memory(format!(
                "a tensor of {bytes} bytes exceeds the GPU's largest buffer, {} bytes",
                self.largest_buffer
            ))
            .remedy("use shorter or fewer inputs at a time, or run on the CPU"));
        }
        let class = bytes.next_power_of_two().clamp(SMALLEST_CLASS, self.largest_buffer);
        let storage = self.take_free(class, source).unwrap_or_else(|| self.make(device, class));
        let id = BufferId(self.next_id);
        self.next_id += 1;
        self.tensors.insert(id, Tensor { storage, elements });
        Ok(id)
    }

    fn take_free(&mut self, class: u64, source: Source) -> Option<PooledBuffer> {
        let oldest_trusted = self.oldest_trusted;
        let pools = [Some(&mut self.free), (source == Source::Command).then_some(&mut self.free_after_submission)];
        pools.into_iter().flatten().find_map(|pool| {
            let suits = |free: &PooledBuffer| free.buffer.size() == class && free.serial >= oldest_trusted;
            let position = pool.iter().rposition(suits)?;
            Some(pool.remove(position))
        })
    }

    fn make(&mut self, device: &wgpu::Device, class: u64) -> PooledBuffer {
        use wgpu::BufferUsages as Usage;
        let serial = self.next_serial;
        self.next_serial += 1;
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: class, usage, mapped_at_creation: false };
        PooledBuffer { serial, buffer: device.create_buffer(&descriptor) }
    }

    /// The buffer that holds a tensor, and the tensor's number of elements.
    pub fn get(&self, id: BufferId) -> Result<(&PooledBuffer, usize)> {
        let tensor = self.tensors.get(&id).ok_or_else(|| Error::internal("a GPU tensor was used after its release"))?;
        Ok((&tensor.storage, tensor.elements))
    }

    /// Forgets a tensor; its buffer returns to the pool. `encoding` says whether commands wait to be submitted. Gives
    /// whether any buffer left the pool for good.
    #[must_use]
    pub fn release(&mut self, id: BufferId, encoding: bool) -> bool {
        let Some(tensor) = self.tensors.remove(&id) else { return false };
        let pool = if encoding { &mut self.free_after_submission } else { &mut self.free };
        pool.push(tensor.storage);
        self.trim()
    }

    /// To be called when everything encoded was submitted. Gives whether any buffer left the pool for good.
    #[must_use]
    pub fn submitted(&mut self) -> bool {
        self.free.append(&mut self.free_after_submission);
        self.trim()
    }

    /// To be called when the device reported an error: buffers made so far may be without memory, so none of them is used
    /// for another tensor.
    pub fn distrust(&mut self) {
        self.oldest_trusted = self.next_serial;
    }

    /// Destroys the free buffers that are not trusted, and the ones that have waited longest as far as they exceed
    /// [`MAX_POOLED_BYTES`].
    fn trim(&mut self) -> bool {
        let before = self.free.len();
        let oldest_trusted = self.oldest_trusted;
        for distrusted in self.free.extract_if(.., |free| free.serial < oldest_trusted) {
            distrusted.buffer.destroy();
        }
        let mut pooled = 0;
        let kept = self.free.iter().rev().take_while(|free| {
            pooled += free.buffer.size();
            pooled <= MAX_POOLED_BYTES
        });
        let excess = self.free.len() - kept.count();
        self.free.drain(..excess).for_each(|free| free.buffer.destroy());
        self.free.len() < before
    }
}
