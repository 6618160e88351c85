//! Text to token ids: `tokenizer.json`, offsets in the original string, windows over long texts, padded batches.

pub mod batch;
pub mod config;
pub mod encoding;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod span;
pub mod tokenizer;
pub mod utf16;
pub mod window;

pub use batch::Batch;
pub use config::{ModelConfig, Side, TokenizerConfig};
pub use encoding::Encoding;
pub use tokenizer::Tokenizer;
pub use utf16::Utf16Index;
pub use window::Window;
