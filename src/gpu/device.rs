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
        let elements: Vec<usize> = buffers.iter().map(|&id| Ok(self.buffers.get(id)?.1)).collect::<Result<_>>()?;
        let bytes = 4 * elements.iter().sum::<usize>() as u64;
        let staging = self.take_staging(bytes)?;
        self.copy_to(&staging, buffers)?;
        self.submit();
        let mapping = Mapping::request(&staging);
        let settled = self.errors.settled(&self.device);
        #[cfg(not(target_arch = "wasm32"))]
        self.wait()?;
        let mapped = mapping.await;
        let reported = settled.await;
        self.check_lost()?;
        self.fail_with(reported)?;
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
        let tensors = dispatch.tensors.iter().map(|&id| Ok(self.buffers.get(id)?.0)).collect::<Result<Vec<_>>>()?;
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
        self.check_lost()?;
        let reported = self.errors.known();
        self.fail_with(reported)
    }

    fn check_lost(&self) -> Result<()> {
        self.lost().map_or(Ok(()), |reason| Err(device_lost(reason)))
    }

    fn fail_with(&mut self, reported: Option<Error>) -> Result<()> {
        let Some(error) = reported else { return Ok(()) };
        self.buffers.distrust();
        Err(error)
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
    use crate::{
        attention::{AttentionCall, AttentionShape, HeadStrides, Window},
        error::ErrorCode,
    };

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

    /// One query of four elements over `keys` keys.
    fn call(keys: usize, scale: f32) -> AttentionCall {
        let strides = HeadStrides { start: 0, batch: 4, head: 4, position: 4 };
        AttentionCall {
            shape: AttentionShape { batch: 1, heads: 1, kv_heads: 1, queries: 1, keys, head_dim: 4, value_dim: 4 },
            scale,
            softcap: 0.0,
            window: Window::default(),
            sequences: false,
            sinks: false,
            query: strides,
            key: strides,
            value: strides,
            output: strides,
            mask: None,
            zero_when_all_masked: false,
        }
    }

    /// Attention over a single key gives that key's value, whatever the query.
    fn copy(gpu: &mut Gpu, from: BufferId, to: BufferId) {
        gpu.attention(&call(1, 1.0), from, from, from, None, to).unwrap();
    }

    #[test]
    fn counters_count() {
        let Some(mut gpu) = test_gpu() else { return };
        let from = gpu.upload(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let [first, second] = [4, 4].map(|elements| gpu.allocate(elements).unwrap());
        copy(&mut gpu, from, first);
        copy(&mut gpu, first, second);
        let encoded = Counters { dispatches: 2, submissions: 0, bytes_uploaded: 16, bytes_read_back: 0 };
        assert_eq!(gpu.counters(), encoded);
        let read = pollster::block_on(gpu.read_many(&[second, from])).unwrap();
        assert_eq!(read, [[1.0, 2.0, 3.0, 4.0]; 2]);
        assert_eq!(gpu.counters(), Counters { submissions: 1, bytes_read_back: 32, ..encoded });
        gpu.submit();
        assert_eq!(gpu.counters().submissions, 1);
    }

    #[test]
    fn a_released_tensor_is_kept_for_the_commands_that_read_it() {
        let Some(mut gpu) = test_gpu() else { return };
        let from = gpu.upload(&[1.0; 4]).unwrap();
        let to = gpu.allocate(4).unwrap();
        copy(&mut gpu, from, to);
        gpu.release(from);
        let next = gpu.upload(&[2.0; 4]).unwrap();
        let read = pollster::block_on(gpu.read_many(&[to, next])).unwrap();
        assert_eq!(read, [[1.0; 4], [2.0; 4]]);
    }

    #[test]
    fn buffers_are_used_again() {
        let Some(mut gpu) = test_gpu() else { return };
        let serial = |gpu: &Gpu, id| gpu.buffers.get(id).unwrap().0.serial;
        let first = gpu.upload(&[1.0; 100]).unwrap();
        let first_serial = serial(&gpu, first);
        gpu.release(first);
        let second = gpu.upload(&[1.0; 128]).unwrap();
        assert_eq!(serial(&gpu, second), first_serial);
        let third = gpu.upload(&[1.0; 128]).unwrap();
        assert_ne!(serial(&gpu, third), first_serial);
        gpu.release(second);
        let larger = gpu.upload(&[1.0; 129]).unwrap();
        let larger_serial = serial(&gpu, larger);
        assert_ne!(larger_serial, first_serial);
        gpu.release(larger);
        let smaller = gpu.upload(&[1.0]).unwrap();
        assert_ne!(serial(&gpu, smaller), larger_serial);
        gpu.buffers.distrust();
        let fourth = gpu.upload(&[1.0; 128]).unwrap();
        assert_ne!(serial(&gpu, fourth), first_serial);
    }

    #[test]
    fn each_of_many_dispatches_has_its_own_parameters() {
        let Some(mut gpu) = test_gpu() else { return };
        // Of two keys the query scores one with the scale and the other with 0: the weight of the first is the logistic function.
        let keys = gpu.upload(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        for _ in 0..2 {
            let scales = (0..150).map(|i| i as f32 / 50.0);
            let outputs: Vec<BufferId> = scales.clone().map(|_| gpu.allocate(4).unwrap()).collect();
            for (scale, &output) in scales.clone().zip(&outputs) {
                gpu.attention(&call(2, scale), keys, keys, keys, None, output).unwrap();
            }
            let read = pollster::block_on(gpu.read_many(&outputs)).unwrap();
            for (scale, output) in scales.zip(read) {
                assert!((output[0] - 1.0 / (1.0 + (-scale).exp())).abs() < 1e-5, "{output:?} at {scale}");
            }
            outputs.into_iter().for_each(|output| gpu.release(output));
            assert_eq!(gpu.parameters.pages(), 3);
        }
    }

    #[test]
    fn misuse_and_failures_are_typed_errors() {
        struct Case {
            attempt: fn(&mut Gpu) -> Result<()>,
            code: ErrorCode,
        }
        let cases = [
            Case {
                attempt: |gpu| {
                    let tensor = gpu.allocate(4)?;
                    gpu.release(tensor);
                    gpu.release(tensor);
                    pollster::block_on(gpu.read(tensor)).map(drop)
                },
                code: ErrorCode::InternalError,
            },
            Case { attempt: |gpu| gpu.allocate(1 << 40).map(drop), code: ErrorCode::OutOfMemory },
            Case {
                attempt: |gpu| {
                    let size = gpu.limits.max_buffer_size + 1;
                    let usage = wgpu::BufferUsages::STORAGE;
                    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
                    let _refused = gpu.device.create_buffer(&descriptor);
                    gpu.allocate(4).map(drop)
                },
                code: ErrorCode::InternalError,
            },
            Case {
                attempt: |gpu| {
                    let tensor = gpu.upload(&[1.0])?;
                    gpu.device.destroy();
                    pollster::block_on(gpu.read(tensor)).map(drop)
                },
                code: ErrorCode::DeviceLost,
            },
        ];
        let Some(mut gpu) = test_gpu() else { return };
        for case in cases {
            let error = (case.attempt)(&mut gpu).unwrap_err();
            assert_eq!(error.code, case.code, "{error}");
        }
        assert!(gpu.lost().is_some());
        assert_eq!(gpu.upload(&[1.0]).unwrap_err().code, ErrorCode::DeviceLost);
    }
}
