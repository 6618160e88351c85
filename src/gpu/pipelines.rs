//! Compiled shaders and the layouts of what they bind, each made once.
//!
//! Every shader binds the same way: group 0 holds its parameters (one uniform at a dynamic offset), group 1 its tensors, the
//! ones it reads first and the one it writes last.

use super::{attention::AttentionKernel, buffers::PooledBuffer, parameters::SLOT_BYTES};
use crate::error::Result;
use std::{collections::HashMap, num::NonZero};

/// A shader with everything that is compiled into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kernel {
    /// [`attention`](super::attention).
    Attention(AttentionKernel),
}

impl Kernel {
    fn source(&self) -> Result<String> {
        match self {
            Kernel::Attention(kernel) => kernel.source(),
        }
    }
}

/// Bind groups are forgotten, all at once, beyond this many.
const MAX_BIND_GROUPS: usize = 1024;

struct TensorLayout {
    group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// The compiled shaders and bind groups of one device.
pub(super) struct Pipelines {
    parameters: wgpu::BindGroupLayout,
    layouts: HashMap<usize, TensorLayout>,
    pipelines: HashMap<Kernel, wgpu::ComputePipeline>,
    bind_groups: HashMap<Vec<u64>, wgpu::BindGroup>,
}

impl Pipelines {
    /// Nothing compiled yet.
    pub fn new(device: &wgpu::Device) -> Pipelines {
        let parameters = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("parameters"),
            entries: &[binding(0, wgpu::BufferBindingType::Uniform, true, NonZero::new(SLOT_BYTES as u64))],
        });
        Pipelines { parameters, layouts: HashMap::new(), pipelines: HashMap::new(), bind_groups: HashMap::new() }
    }

    /// Layout of group 0.
    pub fn parameters_layout(&self) -> &wgpu::BindGroupLayout {
        &self.parameters
    }

    /// The pipeline of a kernel that binds `tensors` tensors.
    pub fn pipeline(&mut self, device: &wgpu::Device, kernel: Kernel, tensors: usize) -> Result<wgpu::ComputePipeline> {
        if let Some(pipeline) = self.pipelines.get(&kernel) {
            return Ok(pipeline.clone());
        }
        let source = wgpu::ShaderSource::Wgsl(kernel.source()?.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&self.layout(device, tensors).pipeline),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        self.pipelines.insert(kernel, pipeline.clone());
        Ok(pipeline)
    }

    /// Group 1 for these tensors, the one that is written last.
    pub fn tensors(&mut self, device: &wgpu::Device, tensors: &[&PooledBuffer]) -> wgpu::BindGroup {
        let key: Vec<u64> = tensors.iter().map(|tensor| tensor.serial).collect();
        if let Some(group) = self.bind_groups.get(&key) {
            return group.clone();
        }
        let entries: Vec<wgpu::BindGroupEntry> = tensors
            .iter()
            .zip(0..)
            .map(|(tensor, binding)| wgpu::BindGroupEntry { binding, resource: tensor.buffer.as_entire_binding() })
            .collect();
        let layout = &self.layout(device, tensors.len()).group;
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
        if self.bind_groups.len() == MAX_BIND_GROUPS {
            self.forget_bind_groups();
        }
        self.bind_groups.insert(key, group.clone());
        group
    }

    /// To be called when a buffer was destroyed: bind groups would keep it.
    pub fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }

    fn layout(&mut self, device: &wgpu::Device, tensors: usize) -> &TensorLayout {
        let parameters = &self.parameters;
        self.layouts.entry(tensors).or_insert_with(|| {
            let written = tensors as u32 - 1;
            let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..=written)
                .map(|index| {
                    binding(index, wgpu::BufferBindingType::Storage { read_only: index != written }, false, None)
                })
                .collect();
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("tensors"),
                entries: &entries,
            });
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(parameters), Some(&group)],
                immediate_size: 0,
            });
            TensorLayout { group, pipeline }
        })
    }
}

fn binding(
    binding: u32,
    ty: wgpu::BufferBindingType,
    has_dynamic_offset: bool,
    min_binding_size: Option<wgpu::BufferSize>,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size },
        count: None,
    }
}
