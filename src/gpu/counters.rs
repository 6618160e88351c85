//! What a [`Gpu`](super::Gpu) has done so far.

/// Running totals of one device, from its request on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Compute dispatches encoded.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submissions: u64,
    /// Bytes of tensors sent to the device.
    pub bytes_uploaded: u64,
    /// Bytes of tensors copied back from the device.
    pub bytes_read_back: u64,
}
