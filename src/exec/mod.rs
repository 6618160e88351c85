//! Runs compiled models: sessions, the stepping executor, placement on CPU or GPU.

mod checkpoint;
mod convert;
mod feeds;
mod guard;
mod held;
mod promises;
mod session;
mod step;

pub use checkpoint::{Checkpoint, Uninterrupted};
pub use feeds::Feed;
pub use held::HeldTensor;
pub use session::{Device, DevicePreference, Placement, RunCounters, Session};
