//! Runs compiled models: sessions, the stepping executor, placement on CPU or GPU.

mod checkpoint;
mod convert;
mod feeds;
mod guard;
mod session;
mod step;

pub use checkpoint::{Checkpoint, Uninterrupted};
pub use session::{Device, DevicePreference, RunCounters, Session, SessionInfo};
