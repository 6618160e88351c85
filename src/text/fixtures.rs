//! The small tokenizers of `tests/fixtures/tokenizers`, and what Python records of them.

use super::Tokenizer;
use serde_json::Value;

pub(crate) const NAMES: [&str; 4] = ["wordpiece", "byte_level_bpe", "unigram", "byte_fallback_bpe"];

pub(crate) fn tokenizer_json(name: &str) -> &'static [u8] {
    match name {
        "wordpiece" => include_bytes!("../../tests/fixtures/tokenizers/wordpiece.json"),
        "byte_level_bpe" => include_bytes!("../../tests/fixtures/tokenizers/byte_level_bpe.json"),
        "unigram" => include_bytes!("../../tests/fixtures/tokenizers/unigram.json"),
        "byte_fallback_bpe" => include_bytes!("../../tests/fixtures/tokenizers/byte_fallback_bpe.json"),
        _ => panic!("there is no tokenizer {name}"),
    }
}

/// The tokenizer with the given `tokenizer_config.json`.
pub(crate) fn tokenizer(name: &str, config: &str) -> Tokenizer {
    Tokenizer::from_json(tokenizer_json(name), Some(config.as_bytes()), None).unwrap()
}

pub(crate) fn encodings() -> Value {
    serde_json::from_slice(include_bytes!("../../tests/fixtures/tokenizers/encodings.json")).unwrap()
}

pub(crate) fn entities() -> Value {
    serde_json::from_slice(include_bytes!("../../tests/fixtures/tokenizers/entities.json")).unwrap()
}
