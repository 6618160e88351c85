//! Random access to a file's bytes.

use crate::error::{Error, Result};

/// A file that can be read in any order, so that a model need never be in memory as a whole.
pub trait ReadAt {
    /// Name for error messages.
    fn name(&self) -> &str;

    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `InvalidModel` when the file ends before; `NetworkError` when it cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// The error of a read beyond the end of `source`.
pub(crate) fn ends_early(source: &dyn ReadAt, offset: u64, wanted: usize) -> Error {
    Error::invalid_model(format!(
        "the file ends after {} bytes, but {wanted} bytes were expected at offset {offset}",
        source.len()
    ))
    .file(source.name())
    .remedy("fetch the file again; it is truncated or corrupted")
}

impl ReadAt for (&str, &[u8]) {
    fn name(&self) -> &str {
        self.0
    }

    fn len(&self) -> u64 {
        self.1.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| self.1.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(bytes.ok_or_else(|| ends_early(self, offset, buffer.len()))?);
        Ok(())
    }
}

/// A file on disk.
#[cfg(not(target_arch = "wasm32"))]
pub struct FileSource {
    name: String,
    file: std::sync::Mutex<std::fs::File>,
    len: u64,
}

#[cfg(not(target_arch = "wasm32"))]
impl FileSource {
    /// Opens the file.
    ///
    /// # Errors
    /// `NetworkError` when it cannot be opened.
    pub fn open(path: &std::path::Path) -> Result<FileSource> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            Error::network(format!("the file cannot be read: {error}"))
                .file(name.clone())
                .remedy("check the path and its permissions")
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Error::network("not a file").file(name).remedy("pass the path of a file"));
        }
        Ok(FileSource { name, file: std::sync::Mutex::new(file), len: metadata.len() })
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl ReadAt for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            return Err(ends_early(self, offset, buffer.len()));
        }
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buffer)).map_err(|error| {
            Error::network(format!("the file cannot be read: {error}")).file(self.name.clone()).remedy("try again")
        })
    }
}
