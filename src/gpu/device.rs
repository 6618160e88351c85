//! [`Gpu`]: a device, the tensors on it and the commands encoded for it.

use super::{
    adapter::{AdapterSummary, open_device},
    buffers::{BufferId, BufferTable, Source},
    counters::Counters,
    device_errors::DeviceErrors,
    mapping::Mapping,
    parameters::{ParameterWords, Parameters},
    pipelines::{Kernel, Pipelines},
};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// A GPU device, the tensors on it and the commands encoded for it.
///
/// Errors of the device itself (memory, a driver that refuses a shader) may become known only at the next
/// [`read`](Gpu::read); nothing is ever read past such an error.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: AdapterSummary,
    limits: wgpu::Limits,
    lost: Arc<Mutex<Option<String>>>,
    errors: DeviceErrors,
    buffers: BufferTable,
    parameters: Parameters,
    pipelines: Pipelines,
    encoder: Option<wgpu::CommandEncoder>,
    staging: Option<wgpu::Buffer>,
    counters: Counters,
}

/// One dispatch.
pub(super) struct Dispatch<'a> {
    /// The shader.
    pub kernel: Kernel,
    /// Its parameters.
    pub parameters: &'a ParameterWords,
    /// The tensors it reads, and last the one it writes, which is none of them.
    pub tensors: &'a [BufferId],
    /// Workgroups along x, y and z.
    pub workgroups: [u32; 3],
}

impl Gpu {
    /// Opens a device on the fastest adapter there is.
    ///
    /// # Errors
    /// `DeviceLost` if there is no WebGPU here, no adapter, if the adapter's limits are below those that WebGPU guarantees, or
    /// if the device cannot be opened.
    pub async fn request() -> Result<Gpu> {
        let (device, queue, adapter) = open_device().await?;
        let limits = device.limits();
        let lost = Arc::new(Mutex::new(None));
        let record = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let text = format!("{reason:?}: {message}");
            record.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        });
        Ok(Gpu {
            errors: DeviceErrors::watch(&device),
            buffers: BufferTable::new(&limits),
            parameters: Parameters::new(),
            pipelines: Pipelines::new(&device),
            encoder: None,
            staging: None,
            counters: Counters::default(),
            device,
            queue,
            adapter,
            limits,
            lost,
        })
    }

    /// The adapter that the device runs on.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.adapter
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Why the device was lost, if it was; everything then fails with `DeviceLost`.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A tensor with this data.
    ///
    /// # Errors
    /// `OutOfMemory` if it exceeds the device's largest buffer or the device's memory, `DeviceLost`.
    pub fn upload(&mut self, data: &[f32]) -> Result<BufferId> {
        self.check()?;
        let id = self.buffers.create(&self.device, data.len(), Source::Upload)?;
        let mut bytes = vec![0; size_of_val(data)];
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(data) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        self.queue.write_buffer(&self.buffers.get(id)?.0.buffer, 0, &bytes);
        self.counters.bytes_uploaded += bytes.len() as u64;
        self.check()?;
        Ok(id)
    }

    /// A tensor of `elements` float32 with arbitrary contents, to be written by an operation before anything reads it.
    ///
    /// # Errors
    /// `OutOfMemory` if it exceeds the device's largest buffer or the device's memory, `DeviceLost`.
    pub fn allocate(&mut self, elements: usize) -> Result<BufferId> {
        self.check()?;
        let id = self.buffers.create(&self.device, elements, Source::Command)?;
        self.check()?;
        Ok(id)
    }

    /// Gives a tensor's memory to the next that needs as much. Commands encoded before still see the tensor.
    pub fn release(&mut self, buffer: BufferId) {
        if self.buffers.release(buffer, self.encoder.is_some()) {
            self.pipelines.forget_bind_groups();
        }
    }

    /// Submits what was encoded since the last submission, if anything.
    pub fn submit(&mut self) {
        let Some(encoder) = self.encoder.take() else { return };
        self.parameters.flush(&self.queue);
        self.queue.submit([encoder.finish()]);
        self.counters.submissions += 1;
        if self.buffers.submitted() {
            self.pipelines.forget_bind_groups();
        }
    }

    /// The elements of a tensor, once everything encoded so far is done: submits it.
    ///
    /// # Errors
    /// `DeviceLost`, or what the device reported since the last read: `OutOfMemory`, `InternalError`.
    pub async fn read(&mut self, buffer: BufferId) -> Result<Vec<f32>> {
        Ok(self.read_many(&[buffer]).await?.swap_remove(0))
    }

    /// The elements of several tensors, with one submission and one wait.
    ///
    /// # Errors
    /// As [`read`](Gpu::read).
    pub async fn read_many(&mut self, buffers: &[BufferId]) -> Result<Vec<Vec<f32>>> {
        self.check()?;
        let elements: Vec<usize> =
            buffers.iter().map(|&id| Ok(self.buffers.get(id)?.1)).collect::<Result<_>>()?;
        let bytes = 4 * elements.iter().sum::<usize>() as u64;
        let staging = self.take_staging(bytes)?;
        self.copy_to(&staging, buffers)?;
        self.submit();
        let mapping = Mapping::request(&staging);
        let settled = self.errors.settled(&self.device);
        #[cfg(not(target_arch = "wasm32"))]
        self.wait()?;
        let mapped = mapping.await;
        if let Some(error) = settled.await {
            return Err(error);
        }
        self.check()?;
        mapped.map_err(|error| unreadable(&error))?;
        let data = split_floats(&staging.get_mapped_range(..).map_err(|error| unreadable(&error))?, &elements);
        staging.unmap();
        self.staging = Some(staging);
        self.counters.bytes_read_back += bytes;
        Ok(data)
    }

    /// Encodes one dispatch, in a pass of its own.
    pub(super) fn dispatch(&mut self, dispatch: &Dispatch) -> Result<()> {
        self.check()?;
        if dispatch.tensors.split_last().is_some_and(|(written, read)| read.contains(written)) {
            return Err(Error::internal("a GPU operation cannot write to a tensor that it reads"));
        }
        let tensors =
            dispatch.tensors.iter().map(|&id| Ok(self.buffers.get(id)?.0)).collect::<Result<Vec<_>>>()?;
        let pipeline = self.pipelines.pipeline(&self.device, dispatch.kernel, tensors.len())?;
        let group = self.pipelines.tensors(&self.device, &tensors);
        let slot = self.parameters.push(&self.device, self.pipelines.parameters_layout(), dispatch.parameters);
        let mut pass = open_encoder(&mut self.encoder, &self.device).begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, self.parameters.bind_group(slot), &[slot.offset]);
        pass.set_bind_group(1, &group, &[]);
        let [x, y, z] = dispatch.workgroups;
        pass.dispatch_workgroups(x, y, z);
        drop(pass);
        self.counters.dispatches += 1;
        self.check()
    }

    /// Number of elements of a tensor.
    pub(super) fn elements(&self, buffer: BufferId) -> Result<usize> {
        Ok(self.buffers.get(buffer)?.1)
    }

    /// What the device allows.
    pub(super) fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    fn check(&mut self) -> Result<()> {
        if let Some(reason) = self.lost() {
            return Err(device_lost(reason));
        }
        self.errors.known().map_or(Ok(()), Err)
    }

    fn take_staging(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        if bytes > self.limits.max_buffer_size {
            return Err(Error::out_of_memory(format!(
                "{bytes} bytes cannot be read from the GPU at once, only {}",
                self.limits.max_buffer_size
            )));
        }
        let kept = self.staging.take();
        Ok(kept.filter(|staging| staging.size() >= bytes).unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: bytes.next_power_of_two().clamp(256, self.limits.max_buffer_size),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        }))
    }

    /// Encodes copies of the tensors, one behind the other.
    fn copy_to(&mut self, staging: &wgpu::Buffer, buffers: &[BufferId]) -> Result<()> {
        let mut offset = 0;
        for &id in buffers {
            let (storage, elements) = self.buffers.get(id)?;
            let bytes = 4 * elements as u64;
            let encoder = open_encoder(&mut self.encoder, &self.device);
            encoder.copy_buffer_to_buffer(&storage.buffer, 0, staging, offset, bytes);
            offset += bytes;
        }
        Ok(())
    }

    /// Blocks until the device is done, so that every future of it is ready.
    #[cfg(not(target_arch = "wasm32"))]
    fn wait(&mut self) -> Result<()> {
        let outcome = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        outcome.map(drop).map_err(|error| device_lost(error.to_string()))
    }
}

impl Drop for Gpu {
    /// Gives the device's memory back at once, rather than when JavaScript's collector finds it.
    fn drop(&mut self) {
        self.device.destroy();
    }
}

fn open_encoder<'a>(
    encoder: &'a mut Option<wgpu::CommandEncoder>,
    device: &wgpu::Device,
) -> &'a mut wgpu::CommandEncoder {
    encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
}

fn split_floats(bytes: &[u8], elements: &[usize]) -> Vec<Vec<f32>> {
    let mut floats = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    elements.iter().map(|&count| floats.by_ref().take(count).collect()).collect()
}

fn device_lost(reason: impl Into<String>) -> Error {
    Error::device_lost(format!("the GPU device was lost: {}", reason.into()))
        .remedy("load the model again, or run on the CPU")
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::internal(format!("a result could not be read from the GPU: {error}")).remedy("run on the CPU instead")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A device to test on, or `None`, said aloud, where there is none. With `SOTTOVOCE_REQUIRE_GPU=1` that is a failure.
    pub fn test_gpu() -> Option<Gpu> {
        match pollster::block_on(Gpu::request()) {
            Ok(gpu) => Some(gpu),
            Err(error) if std::env::var("SOTTOVOCE_REQUIRE_GPU").is_ok_and(|value| value == "1") => panic!("{error}"),
            Err(error) => {
                println!("skipped: no Vulkan adapter ({error})");
                None
            }
        }
    }
}
