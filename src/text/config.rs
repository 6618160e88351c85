//! What sottovoce reads of `tokenizer_config.json` and `config.json`. Fields it does not need are passed over.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Above this, `model_max_length` means "no limit": transformers writes 1e30 there (its `LARGE_INTEGER` is 1e20).
const NO_LIMIT: f64 = 1e20;

/// Model types whose position embeddings start at `padding_idx + 1` (fairseq's convention).
const OFFSET_POSITION_TYPES: [&str; 13] = [
    "camembert",
    "data2vec-text",
    "ibert",
    "layoutlmv3",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
    "mluke",
];

/// An end of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The end of the text.
    #[default]
    Right,
    /// The beginning of the text.
    Left,
}

/// A special token, written as a string or as an `AddedToken` object.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Described { content: String },
}

impl SpecialToken {
    fn text(&self) -> &str {
        match self {
            SpecialToken::Text(text) | SpecialToken::Described { content: text } => text,
        }
    }
}

/// `tokenizer_config.json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TokenizerConfig {
    model_max_length: Option<f64>,
    padding_side: Option<Side>,
    truncation_side: Option<Side>,
    pad_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
}

impl TokenizerConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// `InvalidModel` when it is not such a file.
    pub fn from_json(json: &[u8]) -> Result<TokenizerConfig> {
        parse(json, "tokenizer_config.json")
    }

    /// Tokens that the model takes at once, special tokens included, if the file says.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length.filter(|length| (1.0..NO_LIMIT).contains(length)).map(|length| length as usize)
    }

    /// Where padding goes; to the right if the file does not say.
    pub fn padding_side(&self) -> Side {
        self.padding_side.unwrap_or_default()
    }

    /// Which end of a text truncation cuts off; the right one if the file does not say.
    pub fn truncation_side(&self) -> Side {
        self.truncation_side.unwrap_or_default()
    }

    /// The padding token.
    pub fn pad_token(&self) -> Option<&str> {
        self.pad_token.as_ref().map(SpecialToken::text)
    }

    /// The token for what the vocabulary cannot spell.
    pub fn unk_token(&self) -> Option<&str> {
        self.unk_token.as_ref().map(SpecialToken::text)
    }
}

/// `config.json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ModelConfig {
    model_type: Option<String>,
    max_position_embeddings: Option<i64>,
    pad_token_id: Option<i64>,
    id2label: Option<BTreeMap<String, String>>,
}

impl ModelConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// `InvalidModel` when it is not such a file.
    pub fn from_json(json: &[u8]) -> Result<ModelConfig> {
        parse(json, "config.json")
    }

    /// Id of the padding token, if the file says.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.pad_token_id.and_then(|id| u32::try_from(id).ok())
    }

    /// Position id of the first token: 0, or `padding_idx + 1` for RoBERTa and its kin.
    pub fn first_position(&self) -> usize {
        let offsets = self.model_type.as_deref().is_some_and(|name| OFFSET_POSITION_TYPES.contains(&name));
        if offsets { self.pad_token_id().unwrap_or(1) as usize + 1 } else { 0 }
    }

    /// Tokens that the position embeddings have room for, if the file says.
    pub fn positions(&self) -> Option<usize> {
        let positions = usize::try_from(self.max_position_embeddings?).ok()?;
        positions.checked_sub(self.first_position()).filter(|positions| *positions > 0)
    }

    /// The labels of a classifier, by class index.
    ///
    /// # Errors
    /// `InvalidModel` when there is no `id2label`, or its keys are not 0, 1, 2, ….
    pub fn labels(&self) -> Result<Vec<String>> {
        let refuse = |message: &str| {
            Error::invalid_model(message)
                .file("config.json")
                .remedy("use the config.json that was exported with the model")
        };
        let id2label = self.id2label.as_ref().ok_or_else(|| refuse("there is no `id2label`"))?;
        (0..id2label.len())
            .map(|class| id2label.get(&class.to_string()).cloned())
            .collect::<Option<Vec<String>>>()
            .filter(|labels| !labels.is_empty())
            .ok_or_else(|| refuse("the keys of `id2label` are not 0, 1, 2, …"))
    }
}

fn parse<T: DeserializeOwned>(json: &[u8], file: &str) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        Error::invalid_model(format!("the file cannot be read: {error}"))
            .doing("reading the configuration")
            .file(file)
            .remedy("check that its address serves the file itself, whole, and not a web page")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn tokenizer_config() {
        struct Case {
            json: &'static str,
            max_length: Option<usize>,
            padding_side: Side,
            pad_token: Option<&'static str>,
        }
        let cases = [
            Case { json: "{}", max_length: None, padding_side: Side::Right, pad_token: None },
            Case {
                json: r#"{"model_max_length": 512, "pad_token": "[PAD]", "padding_side": "left"}"#,
                max_length: Some(512),
                padding_side: Side::Left,
                pad_token: Some("[PAD]"),
            },
            Case {
                json: r#"{"model_max_length": 1000000000000000019884624838656, "pad_token": {"content": "<pad>", "lstrip": false}}"#,
                max_length: None,
                padding_side: Side::Right,
                pad_token: Some("<pad>"),
            },
            Case {
                json: r#"{"model_max_length": null, "pad_token": null}"#,
                max_length: None,
                padding_side: Side::Right,
                pad_token: None,
            },
        ];
        for case in cases {
            let config = TokenizerConfig::from_json(case.json.as_bytes()).unwrap();
            assert_eq!(config.model_max_length(), case.max_length, "{}", case.json);
            assert_eq!(config.padding_side(), case.padding_side, "{}", case.json);
            assert_eq!(config.pad_token(), case.pad_token, "{}", case.json);
        }
    }

    #[test]
    fn positions_and_labels() {
        struct Case {
            json: &'static str,
            positions: Option<usize>,
            labels: Option<&'static [&'static str]>,
        }
        let cases = [
            Case {
                json: r#"{"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0, "id2label": {"1": "B-X", "0": "O"}}"#,
                positions: Some(512),
                labels: Some(&["O", "B-X"]),
            },
            Case {
                json: r#"{"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#,
                positions: Some(512),
                labels: None,
            },
            Case {
                json: r#"{"model_type": "mpnet", "max_position_embeddings": 514}"#,
                positions: Some(512),
                labels: None,
            },
            Case { json: r#"{"id2label": {"1": "O", "2": "B-X"}}"#, positions: None, labels: None },
            Case { json: r#"{"id2label": {}}"#, positions: None, labels: None },
        ];
        for case in cases {
            let config = ModelConfig::from_json(case.json.as_bytes()).unwrap();
            assert_eq!(config.positions(), case.positions, "{}", case.json);
            match (config.labels(), case.labels) {
                (Ok(labels), Some(expected)) => assert_eq!(labels, expected, "{}", case.json),
                (Err(error), None) => assert_eq!(error.code, ErrorCode::InvalidModel, "{}", case.json),
                (labels, _) => panic!("{}: {labels:?}", case.json),
            }
        }
    }

    #[test]
    fn broken_files_are_refused_by_name() {
        for json in ["", "<!doctype html>", r#"{"max_position_embeddings": "many"}"#, "[]"] {
            let error = ModelConfig::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidModel, "{json}");
            assert_eq!(error.file.as_deref(), Some("config.json"), "{json}");
            assert!(error.remedy.is_some(), "{json}");
        }
    }
}
