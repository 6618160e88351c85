//! A panic below becomes an error.

use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `work`; a panic in it becomes an `InternalError` with the panic's message. Whatever `work` was changing must not
/// be used afterwards.
pub fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|message| message.to_string())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic".to_string());
        Err(from_panic(&message).doing(doing))
    })
}

/// Failed allocations panic with a message of the standard library's.
fn from_panic(message: &str) -> Error {
    if ["capacity overflow", "memory allocation", "failed to allocate"].iter().any(|words| message.contains(words)) {
        return Error::out_of_memory(message).remedy("use a smaller model or shorter inputs");
    }
    Error::internal(message)
        .remedy("load the model again; if it happens again, the model does what sottovoce does not expect")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    type Work = fn() -> Result<u8>;

    #[test]
    fn panics_become_errors() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let cases: [(Work, Result<u8, ErrorCode>); 4] = [
            (|| Ok(1), Ok(1)),
            (|| Err(Error::aborted("stop")), Err(ErrorCode::Aborted)),
            (|| panic!("index {} out of bounds", 3), Err(ErrorCode::InternalError)),
            (|| Ok(Vec::<u64>::with_capacity(usize::MAX).len() as u8), Err(ErrorCode::OutOfMemory)),
        ];
        let results = cases.map(|(work, expected)| (guarded("testing", work).map_err(|error| error.code), expected));
        std::panic::set_hook(hook);
        for (result, expected) in results {
            assert_eq!(result, expected);
        }
    }
}
