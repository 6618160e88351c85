//! Awaiting the mapping of a buffer.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// Resolves once a whole buffer is mapped for reading. Natively somebody must poll the device for that to happen.
pub(super) struct Mapping(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    outcome: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Mapping {
    /// Asks for the buffer to be mapped.
    pub fn request(buffer: &wgpu::Buffer) -> Mapping {
        let state = Arc::new(Mutex::new(State::default()));
        let mapping = Mapping(Arc::clone(&state));
        buffer.map_async(wgpu::MapMode::Read, .., move |outcome| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.outcome = Some(outcome);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        });
        mapping
    }
}

impl Future for Mapping {
    type Output = Result<(), wgpu::BufferAsyncError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
