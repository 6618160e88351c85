//! Where a run lets others in.

use crate::error::Result;

/// Asked between the steps of a load or a run, so that the caller can stop it and its thread can breathe.
#[allow(async_fn_in_trait)]
pub trait Checkpoint {
    /// Gives an error, usually `Aborted`, to stop.
    async fn pass(&self) -> Result<()>;
}

/// Never stops and never waits.
pub struct Uninterrupted;

impl Checkpoint for Uninterrupted {
    async fn pass(&self) -> Result<()> {
        Ok(())
    }
}
