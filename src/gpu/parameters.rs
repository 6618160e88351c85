//! Uniform parameters of dispatches: pages of slots, one slot a dispatch, written together when the commands are submitted.

/// Bytes of one dispatch's parameters: WebGPU's alignment of dynamic offsets.
pub(super) const SLOT_BYTES: usize = 256;
const SLOTS_PER_PAGE: usize = 64;

/// The parameters of one dispatch, in the order of the shader's uniform struct; float32 by their bits.
pub(super) type ParameterWords = [u32; SLOT_BYTES / size_of::<u32>()];

/// Where the parameters of a dispatch lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    page: usize,
    /// Dynamic offset of the slot in its page's bind group.
    pub offset: u32,
}

struct Page {
    buffer: wgpu::Buffer,
    bind_group: wgpu::BindGroup,
}

/// The parameters of the dispatches encoded since the last submission. Pages are kept and used again after it.
pub(super) struct Parameters {
    pages: Vec<Page>,
    pending: Vec<u8>,
}

impl Parameters {
    /// No parameters, no pages.
    pub fn new() -> Parameters {
        Parameters { pages: Vec::new(), pending: Vec::new() }
    }

    /// Adds the parameters of one dispatch.
    pub fn push(&mut self, device: &wgpu::Device, layout: &wgpu::BindGroupLayout, words: &ParameterWords) -> Slot {
        let index = self.pending.len() / SLOT_BYTES;
        let slot = Slot { page: index / SLOTS_PER_PAGE, offset: ((index % SLOTS_PER_PAGE) * SLOT_BYTES) as u32 };
        if slot.page == self.pages.len() {
            self.pages.push(Page::new(device, layout));
        }
        self.pending.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        slot
    }

    /// The bind group in which the slot lies, at [`Slot::offset`].
    pub fn bind_group(&self, slot: Slot) -> &wgpu::BindGroup {
        &self.pages[slot.page].bind_group
    }

    #[cfg(test)]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Sends the parameters to the device, ahead of the commands that use them; what comes next starts anew.
    pub fn flush(&mut self, queue: &wgpu::Queue) {
        for (page, bytes) in self.pages.iter().zip(self.pending.chunks(SLOTS_PER_PAGE * SLOT_BYTES)) {
            queue.write_buffer(&page.buffer, 0, bytes);
        }
        self.pending.clear();
    }
}

impl Page {
    fn new(device: &wgpu::Device, layout: &wgpu::BindGroupLayout) -> Page {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (SLOTS_PER_PAGE * SLOT_BYTES) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let slot = wgpu::BufferBinding { buffer: &buffer, offset: 0, size: wgpu::BufferSize::new(SLOT_BYTES as u64) };
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("parameters"),
            layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(slot) }],
        });
        Page { buffer, bind_group }
    }
}
