//! The first bytes of an artefact: what it is, who wrote it, how long it is.

use crate::error::{Error, Result};
use crate::kernels;
use crate::onnx::ReadAt;
use twox_hash::XxHash64;

/// What an artefact begins with. No ONNX file does: a protobuf has no field of number 0.
pub const MAGIC: [u8; 8] = *b"\0sottovo";
/// Parts begin at multiples of this.
pub const ALIGNMENT: u64 = 64;
/// Bytes of a header; the description follows.
pub const LEN: usize = 64;
const SEED: u64 = 0;

/// What the crate is built from, and for: code that packs and code that reads must agree.
const BUILD: [u64; 2] = [sources(), features()];

const fn sources() -> u64 {
    match u64::from_str_radix(env!("SOTTOVOCE_SOURCES"), 16) {
        Ok(sources) => sources,
        Err(_) => panic!("the build script gives a number"),
    }
}

const fn features() -> u64 {
    let features = [
        cfg!(target_arch = "wasm32"),
        cfg!(target_feature = "simd128"),
        kernels::RELAXED_SIMD,
        cfg!(target_endian = "big"),
    ];
    let (mut bits, mut at) = (0, 0);
    while at < features.len() {
        bits |= (features[at] as u64) << at;
        at += 1;
    }
    bits
}

/// See the module's documentation.
#[derive(Debug, PartialEq)]
pub struct Header {
    /// Bytes of the whole artefact.
    len: u64,
    description_len: u64,
    description_hash: u64,
}

/// The hash that tells damaged bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(SEED, bytes)
}

/// A hash of bytes that come piece by piece.
pub fn hasher() -> XxHash64 {
    XxHash64::with_seed(SEED)
}

/// The multiple of [`ALIGNMENT`] from an offset on.
pub fn aligned(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGNMENT)
}

/// Bytes of an artefact with so many bytes before its parts.
pub fn length(head: usize, parts: impl IntoIterator<Item = usize>) -> u64 {
    parts.into_iter().fold(head as u64, |end, part| end.next_multiple_of(ALIGNMENT) + part as u64)
}

impl Header {
    /// Of an artefact that holds this.
    pub fn of(description: &[u8], parts: &[&[u8]]) -> Header {
        Header {
            len: length(LEN + description.len(), parts.iter().map(|part| part.len())),
            description_len: description.len() as u64,
            description_hash: hash(description),
        }
    }

    /// The bytes.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let fields = [BUILD[0], BUILD[1], self.len, self.description_len, self.description_hash];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        for (field, bytes) in fields.iter().zip(bytes[MAGIC.len()..].chunks_exact_mut(8)) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads the header of an artefact.
    ///
    /// # Errors
    /// `InvalidModel` for what is none, or of another build; `IntegrityError` where the file has another length.
    pub fn read(source: &dyn ReadAt) -> Result<Header> {
        let mut bytes = [0; LEN];
        if source.len() < LEN as u64 {
            return Err(no_artefact());
        }
        source.read_at(0, &mut bytes)?;
        let field =
            |at: usize| bytes[MAGIC.len() + 8 * at..].first_chunk().map_or(0, |field| u64::from_le_bytes(*field));
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(no_artefact());
        }
        if [field(0), field(1)] != BUILD {
            return Err(Error::invalid_model("the artefact was saved by another build of sottovoce")
                .remedy("load the model itself, and save it again"));
        }
        let header = Header { len: field(2), description_len: field(3), description_hash: field(4) };
        if header.len != source.len() {
            return Err(damaged(format!("it has {} bytes instead of {}", source.len(), header.len)));
        }
        Ok(header)
    }

    /// Reads what follows the header.
    ///
    /// # Errors
    /// `IntegrityError`.
    pub fn description(&self, source: &dyn ReadAt) -> Result<Vec<u8>> {
        if self.description_len > source.len() - LEN as u64 {
            return Err(damaged("its description does not fit into it".into()));
        }
        let mut description = vec![0; self.description_len as usize];
        source.read_at(LEN as u64, &mut description)?;
        if hash(&description) != self.description_hash {
            return Err(damaged("its description is not the one that was saved".into()));
        }
        Ok(description)
    }
}

/// The error of an artefact whose bytes are not those that were saved.
pub fn damaged(what: String) -> Error {
    Error::integrity(format!("the artefact is damaged: {what}")).remedy("load the model itself, and save it again")
}

fn no_artefact() -> Error {
    Error::invalid_model("this is no artefact").remedy("save one from a session")
}
