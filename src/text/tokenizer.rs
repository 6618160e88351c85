//! [`Tokenizer`]: reads `tokenizer.json` and encodes texts.

use super::config::{ModelConfig, Side, TokenizerConfig};
use super::encoding::Encoding;
use crate::error::{Error, Result};
use std::ops::Range;
use tokenizers::Decoder;
use tokenizers::models::ModelWrapper;

/// A tokenizer and what its model's configuration says about lengths and padding.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: Option<usize>,
    padding_side: Side,
    truncation_side: Side,
    pad_id: u32,
    unk_id: Option<u32>,
    first_position: usize,
}

impl Tokenizer {
    /// Reads a tokenizer from the bytes of `tokenizer.json` and, where there are such, of `tokenizer_config.json` and
    /// `config.json`.
    ///
    /// The model's limit is the lesser of `model_max_length` and what the position embeddings have room for; where
    /// neither is given, the truncation length in `tokenizer.json`; else there is none. Truncation and padding written in
    /// `tokenizer.json` are otherwise left out of account: [`Tokenizer::encode`] does neither.
    ///
    /// # Errors
    /// `InvalidModel`, naming the file, when one is not what it claims to be.
    pub fn from_json(
        tokenizer_json: &[u8],
        tokenizer_config_json: Option<&[u8]>,
        config_json: Option<&[u8]>,
    ) -> Result<Tokenizer> {
        let tokenizer_config = tokenizer_config_json.map(TokenizerConfig::from_json).transpose()?.unwrap_or_default();
        let config = config_json.map(ModelConfig::from_json).transpose()?.unwrap_or_default();
        let mut inner = tokenizers::Tokenizer::from_bytes(tokenizer_json).map_err(|error| {
            Error::invalid_model(format!("the file is not a tokenizer: {error}"))
                .doing("reading the tokenizer")
                .file("tokenizer.json")
                .remedy("check that its address serves the file itself, whole, and not a web page")
        })?;
        let written_limit = inner.get_truncation().map(|truncation| truncation.max_length);
        let written_pad_id = inner.get_padding().map(|padding| padding.pad_id);
        inner.with_padding(None).with_truncation(None).map_err(|error| failed("reading the tokenizer", &error))?;
        let limits = [tokenizer_config.model_max_length(), config.positions()];
        let pad_id = tokenizer_config.pad_token().and_then(|token| inner.token_to_id(token));
        Ok(Tokenizer {
            max_length: limits.into_iter().flatten().min().or(written_limit),
            padding_side: tokenizer_config.padding_side(),
            truncation_side: tokenizer_config.truncation_side(),
            pad_id: pad_id.or(config.pad_token_id()).or(written_pad_id).unwrap_or(0),
            unk_id: unk_token(&tokenizer_config, inner.get_model()).and_then(|token| inner.token_to_id(&token)),
            first_position: config.first_position(),
            inner,
        })
    }

    /// Encodes a text, special tokens included. Nothing is cut off and nothing padded.
    ///
    /// # Errors
    /// `InvalidModel` when the tokenizer cannot spell the text, e.g. for want of its unknown token.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        let encoding = self.inner.encode(text, true).map_err(|error| failed("encoding the text", &error))?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            special: encoding.get_special_tokens_mask().iter().map(|mask| *mask != 0).collect(),
            word_ids: encoding.get_word_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets: encoding.get_offsets().iter().map(|(start, end)| whole_characters(text, *start..*end)).collect(),
        })
    }

    /// Joins tokens, as the vocabulary spells them, to readable text: `["Ber", "##lin"]` to `Berlin`.
    ///
    /// # Errors
    /// `InvalidModel` when the tokenizer's decoder refuses a token.
    pub fn join_tokens(&self, tokens: Vec<String>) -> Result<String> {
        match self.inner.get_decoder() {
            Some(decoder) => decoder.decode(tokens).map_err(|error| failed("joining tokens", &error)),
            None => Ok(tokens.join(" ")),
        }
    }

    /// Tokens that the model takes at once, special tokens included; none if there is no limit.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Where padding goes.
    pub fn padding_side(&self) -> Side {
        self.padding_side
    }

    /// Which end of a text truncation cuts off.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side
    }

    /// Id to pad with. Where no file names one it is 0: padding is masked, so that any id of the vocabulary serves.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// Id of the token for what the vocabulary cannot spell.
    pub fn unk_id(&self) -> Option<u32> {
        self.unk_id
    }

    /// Position id of a sequence's first token.
    pub fn first_position(&self) -> usize {
        self.first_position
    }

    /// What a token that continues a word begins with, e.g. `##`; none for tokenizers that mark it otherwise.
    pub fn continuing_subword_prefix(&self) -> Option<&str> {
        let prefix = match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.as_str()),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => None,
        };
        prefix.filter(|prefix| !prefix.is_empty())
    }
}

/// The unknown token: the configuration's, else the model's own.
fn unk_token(config: &TokenizerConfig, model: &ModelWrapper) -> Option<String> {
    config.unk_token().map(str::to_string).or_else(|| match model {
        ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
        ModelWrapper::BPE(model) => model.unk_token.clone(),
        ModelWrapper::Unigram(_) => Some("<unk>".to_string()),
    })
}

/// The least range of whole characters of the text which holds the bytes, so that it can be sliced whatever a tokenizer's
/// offsets are.
fn whole_characters(text: &str, bytes: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(bytes.start);
    start..text.ceil_char_boundary(bytes.end).max(start)
}

fn failed(doing: &str, error: &tokenizers::Error) -> Error {
    Error::invalid_model(format!("the tokenizer failed: {error}"))
        .doing(doing)
        .file("tokenizer.json")
        .remedy("check that tokenizer.json belongs to this model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::text::fixtures::{NAMES, encodings, tokenizer, tokenizer_json};
    use crate::text::window::windows;
    use serde_json::{Value, json};

    /// As the recorded cases: offsets in characters.
    fn as_recorded(text: &str, encoding: &Encoding) -> Value {
        let characters = |offset: usize| text[..offset].chars().count();
        let offsets: Vec<[usize; 2]> =
            encoding.offsets.iter().map(|span| [characters(span.start), characters(span.end)]).collect();
        let special: Vec<u8> = encoding.special.iter().map(|special| u8::from(*special)).collect();
        json!({
            "text": text,
            "ids": encoding.ids,
            "tokens": encoding.tokens,
            "type_ids": encoding.type_ids,
            "special_tokens_mask": special,
            "word_ids": encoding.word_ids,
            "offsets": offsets,
        })
    }

    #[test]
    fn encodes_as_python_does() {
        let recorded = encodings();
        for name in NAMES {
            let tokenizer = tokenizer(name, "{}");
            for case in recorded[name]["cases"].as_array().unwrap() {
                let text = case["text"].as_str().unwrap();
                assert_eq!(&as_recorded(text, &tokenizer.encode(text).unwrap()), case, "{name}");
            }
        }
    }

    #[test]
    fn offsets_slice_the_javascript_string() {
        for name in NAMES {
            let tokenizer = tokenizer(name, "{}");
            for case in encodings()[name]["cases"].as_array().unwrap() {
                let text = case["text"].as_str().unwrap();
                let units: Vec<u16> = text.encode_utf16().collect();
                let encoding = tokenizer.encode(text).unwrap();
                for (bytes, utf16) in encoding.offsets.iter().zip(encoding.offsets_utf16(text)) {
                    let slice = String::from_utf16(&units[utf16]).expect("no surrogate pair is cut");
                    assert_eq!(slice, text[bytes.clone()], "{name}");
                }
            }
        }
    }

    #[test]
    fn long_texts_encode_quickly_and_as_python_does() {
        let recorded = encodings();
        for name in NAMES {
            let long = &recorded[name]["long"];
            let text = long["text"].as_str().unwrap().repeat(long["repeat"].as_u64().unwrap() as usize);
            let tokenizer = tokenizer(name, "{}");
            let start = std::time::Instant::now();
            let encoding = tokenizer.encode(&text).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            assert!(seconds < 2.0, "{name}: {seconds} s");
            assert_eq!(encoding.len() as u64, long["tokens"].as_u64().unwrap(), "{name}");
            let checksum = encoding.ids.iter().fold(0u32, |sum, id| sum.wrapping_mul(31).wrapping_add(*id));
            assert_eq!(u64::from(checksum), long["checksum"].as_u64().unwrap(), "{name}");
            assert_eq!(encoding.offsets_utf16(&text).len(), encoding.len(), "{name}");
        }
    }

    #[test]
    fn windows_are_the_parts_that_python_truncates_to() {
        let recorded = encodings();
        for name in NAMES {
            let case = &recorded[name]["windows"];
            let (length, overlap) = (case["max_length"].as_u64().unwrap() as usize, case["overlap"].as_u64().unwrap());
            let encoding = tokenizer(name, "{}").encode(case["text"].as_str().unwrap()).unwrap();
            let windows = windows(&encoding, length, Some(overlap as usize)).unwrap();
            let ids: Vec<&[u32]> = windows.iter().map(|window| window.ids.as_slice()).collect();
            assert_eq!(json!(ids), case["ids"], "{name}");
        }
    }

    #[test]
    fn offsets_are_widened_to_whole_characters() {
        let text = "a😀é";
        for (bytes, expected) in [(0..1, 0..1), (1..5, 1..5), (2..4, 1..5), (4..6, 1..7), (7..7, 7..7), (6..99, 5..7)] {
            assert_eq!(whole_characters(text, bytes.clone()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn limits_and_padding_come_from_the_configuration() {
        struct Case {
            tokenizer_config: Option<&'static str>,
            config: Option<&'static str>,
            max_length: Option<usize>,
            pad_id: u32,
        }
        let sentinel = r#"{"model_max_length": 1000000000000000019884624838656, "pad_token": "[MASK]"}"#;
        let cases = [
            Case { tokenizer_config: None, config: None, max_length: Some(16), pad_id: 0 },
            Case { tokenizer_config: Some(sentinel), config: None, max_length: Some(16), pad_id: 4 },
            Case {
                tokenizer_config: Some(sentinel),
                config: Some(r#"{"max_position_embeddings": 512, "pad_token_id": 3}"#),
                max_length: Some(512),
                pad_id: 4,
            },
            Case {
                tokenizer_config: Some(r#"{"model_max_length": 256}"#),
                config: Some(r#"{"max_position_embeddings": 512, "pad_token_id": 3}"#),
                max_length: Some(256),
                pad_id: 3,
            },
            Case {
                tokenizer_config: Some(r#"{"model_max_length": 1024}"#),
                config: Some(r#"{"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}"#),
                max_length: Some(512),
                pad_id: 1,
            },
        ];
        for case in cases {
            let json = tokenizer_json("wordpiece");
            let (tokenizer_config, config) = (case.tokenizer_config.map(str::as_bytes), case.config.map(str::as_bytes));
            let tokenizer = Tokenizer::from_json(json, tokenizer_config, config).unwrap();
            assert_eq!(tokenizer.max_length(), case.max_length, "{:?}", case.tokenizer_config);
            assert_eq!(tokenizer.pad_id(), case.pad_id, "{:?}", case.tokenizer_config);
        }
        let unlimited = Tokenizer::from_json(tokenizer_json("unigram"), None, None).unwrap();
        assert_eq!(unlimited.max_length(), None);
    }

    #[test]
    fn broken_files_are_refused_by_name() {
        struct Case {
            tokenizer: &'static [u8],
            tokenizer_config: &'static str,
            config: &'static str,
            file: &'static str,
        }
        let good = tokenizer_json("wordpiece");
        let cases = [
            Case { tokenizer: b"", tokenizer_config: "{}", config: "{}", file: "tokenizer.json" },
            Case { tokenizer: b"<!doctype html>", tokenizer_config: "{}", config: "{}", file: "tokenizer.json" },
            Case { tokenizer: b"{}", tokenizer_config: "{}", config: "{}", file: "tokenizer.json" },
            Case { tokenizer: &good[..good.len() / 2], tokenizer_config: "{}", config: "{}", file: "tokenizer.json" },
            Case { tokenizer: good, tokenizer_config: "{", config: "{}", file: "tokenizer_config.json" },
            Case {
                tokenizer: good,
                tokenizer_config: r#"{"padding_side": "up"}"#,
                config: "{}",
                file: "tokenizer_config.json",
            },
            Case { tokenizer: good, tokenizer_config: "{}", config: "404", file: "config.json" },
        ];
        for case in cases {
            let (tokenizer_config, config) = (case.tokenizer_config.as_bytes(), case.config.as_bytes());
            let error = Tokenizer::from_json(case.tokenizer, Some(tokenizer_config), Some(config)).err().unwrap();
            assert_eq!(error.code, ErrorCode::InvalidModel, "{error}");
            assert_eq!(error.file.as_deref(), Some(case.file), "{error}");
            assert!(error.doing.is_some() && error.remedy.is_some(), "{error}");
        }
    }
}
