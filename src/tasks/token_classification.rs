//! `token-classification`: named entities, parts of speech.

use super::aggregation::{AggregationStrategy, aggregate};
use super::forward::{DEFAULT_BATCH_SIZE, TextWindow, WindowOutput, encode, run_windows};
use super::{Model, no_text};
use crate::error::{Error, Result};
use crate::text::window::windows;
use crate::text::{Encoding, ModelConfig, Tokenizer, Utf16Index};
use serde::Deserialize;
use serde_json::{Value, json};

pub use super::aggregation::Entity;

/// Options of `token-classification`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenClassificationOptions {
    /// How token predictions become entities.
    pub aggregation_strategy: AggregationStrategy,
    /// Labels to leave out of the answer: as the model has them without aggregation, without `B-` and `I-` with it.
    pub ignore_labels: Vec<String>,
    /// Tokens that neighbouring windows of a long text share; by default a quarter of a window.
    pub stride: Option<usize>,
    /// Texts, or windows of long texts, run at once.
    pub batch_size: usize,
}

impl Default for TokenClassificationOptions {
    fn default() -> Self {
        TokenClassificationOptions {
            aggregation_strategy: AggregationStrategy::None,
            ignore_labels: vec!["O".to_string()],
            stride: None,
            batch_size: DEFAULT_BATCH_SIZE,
        }
    }
}

/// The task with its tokenizer and labels.
///
/// A text longer than the model takes is run in overlapping windows. Each token's scores are taken once, from the window
/// where it has most context, and entities are made from the scores of the whole text, so that none is cut in two.
pub struct TokenClassification {
    tokenizer: Tokenizer,
    labels: Vec<String>,
}

impl TokenClassification {
    /// Prepares the task with the labels (`id2label`) of `config.json`.
    ///
    /// # Errors
    /// `InvalidModel` when there is no `config.json`, or no labels in it.
    pub fn new(tokenizer: Tokenizer, config_json: Option<&[u8]>) -> Result<TokenClassification> {
        let config_json = config_json.ok_or_else(|| {
            Error::invalid_model("the task needs the file, for the labels")
                .file("config.json")
                .remedy("put the config.json that was exported with the model beside it")
        })?;
        Ok(TokenClassification { tokenizer, labels: ModelConfig::from_json(config_json)?.labels()? })
    }

    /// The entities of each text, in its order.
    ///
    /// # Errors
    /// `InvalidInput` when there is no text or an option does not fit; `InvalidModel` when the model's output is not a score
    /// per token and label, or holds NaN or infinity; what the model's run gives.
    pub async fn call<M: Model>(
        &self,
        model: &mut M,
        texts: &[String],
        options: &TokenClassificationOptions,
    ) -> Result<Vec<Vec<Entity>>> {
        if texts.is_empty() {
            return Err(no_text());
        }
        let encodings = encode(&self.tokenizer, texts)?;
        let windows = self.split(&encodings, options.stride)?;
        let mut scores: Vec<Vec<f32>> =
            encodings.iter().map(|encoding| vec![0.0; encoding.len() * self.labels.len()]).collect();
        run_windows(model, &self.tokenizer, &windows, options.batch_size, &["logits"], |window, output, width| {
            self.add_scores(&mut scores[window.text], window, &output, width)
        })
        .await?;
        let texts = texts.iter().zip(&encodings).zip(&scores);
        texts.map(|((text, encoding), scores)| self.entities(text, encoding, scores, options)).collect()
    }

    fn split(&self, encodings: &[Encoding], stride: Option<usize>) -> Result<Vec<TextWindow>> {
        let max_length = self.tokenizer.max_length().unwrap_or(usize::MAX);
        let mut split = Vec::new();
        for (text, encoding) in encodings.iter().enumerate().filter(|(_, encoding)| !encoding.is_empty()) {
            let parts = windows(encoding, max_length, stride)?;
            split.extend(parts.into_iter().map(|window| TextWindow { text, window }));
        }
        Ok(split)
    }

    fn add_scores(
        &self,
        scores: &mut [f32],
        window: &TextWindow,
        output: &WindowOutput<'_>,
        width: usize,
    ) -> Result<()> {
        let labels = self.labels.len();
        let refuse = |message: String| {
            Err(Error::invalid_model(message).remedy("use a token classifier, with the config.json exported with it"))
        };
        let WindowOutput::Tokens(logits) = output else {
            return refuse("the model gives one vector per text, and no scores per token".to_string());
        };
        if width != labels {
            return refuse(format!("the model scores {width} labels, and config.json names {labels}"));
        }
        let (kept, kept_here) = (&window.window.kept, window.window.kept_here());
        let logits = logits[kept_here.start * labels..kept_here.end * labels].chunks_exact(labels);
        let scores = scores[kept.start * labels..kept.end * labels].chunks_exact_mut(labels);
        logits.zip(scores).for_each(|(logits, scores)| softmax(logits, scores));
        Ok(())
    }

    fn entities(
        &self,
        text: &str,
        encoding: &Encoding,
        scores: &[f32],
        options: &TokenClassificationOptions,
    ) -> Result<Vec<Entity>> {
        let strategy = options.aggregation_strategy;
        let mut entities = aggregate(&self.tokenizer, text, encoding, scores, &self.labels, strategy)?;
        entities.retain(|entity| !options.ignore_labels.contains(&entity.label));
        Ok(entities)
    }
}

/// The entities of a text as JSON: `{entity, score, index, word, start, end}` per token, or
/// `{entity_group, score, word, start, end}` per group. `start` and `end` are in UTF-16 units.
pub fn to_json(text: &str, entities: &[Entity]) -> Value {
    let utf16 = Utf16Index::new(text);
    let object = |entity: &Entity| {
        let (label, score, word, span) = (&entity.label, entity.score, &entity.word, utf16.range(&entity.span));
        match entity.index {
            Some(index) => json!({
                "entity": label, "score": score, "index": index, "word": word, "start": span.start, "end": span.end
            }),
            None => json!({
                "entity_group": label, "score": score, "word": word, "start": span.start, "end": span.end
            }),
        }
    };
    entities.iter().map(object).collect()
}

fn softmax(logits: &[f32], scores: &mut [f32]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials = logits.iter().map(|logit| (logit - highest).exp());
    scores.iter_mut().zip(exponentials).for_each(|(score, exponential)| *score = exponential);
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::tasks::fake::{FakeModel, per_token};
    use crate::tensor::Tensor;
    use crate::text::fixtures::{encodings, tokenizer};
    use pollster::block_on;

    const CONFIG: &str = r#"{"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}}"#;

    fn task(max_length: usize) -> TokenClassification {
        let tokenizer = tokenizer("wordpiece", &format!(r#"{{"model_max_length": {max_length}}}"#));
        TokenClassification::new(tokenizer, Some(CONFIG.as_bytes())).unwrap()
    }

    /// Labels the tokens `sarah` as `B-PER`, and `con` and `##nor` as `I-PER`, with a probability of 0.5; all else `O`.
    fn names_model() -> FakeModel {
        let tokenizer = tokenizer("wordpiece", "{}");
        let ids = tokenizer.encode("sarah connor").unwrap().ids;
        FakeModel::new("logits", move |rows| {
            per_token(rows, |row, at| match ids[1..4].iter().position(|id| i64::from(*id) == row[at]) {
                Some(0) => vec![0.0, 2f32.ln(), 0.0],
                Some(_) => vec![0.0, 0.0, 2f32.ln()],
                None => vec![9.0, 0.0, 0.0],
            })
        })
    }

    fn call(max_length: usize, texts: &[&str], options: Value) -> Result<Value> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let options = TokenClassificationOptions::deserialize(options).unwrap();
        let entities = block_on(task(max_length).call(&mut names_model(), &texts, &options))?;
        Ok(texts.iter().zip(&entities).map(|(text, entities)| to_json(text, entities)).collect())
    }

    #[test]
    fn answers_in_the_shape_of_the_pipelines() {
        struct Case {
            text: &'static str,
            options: Value,
            expected: Value,
        }
        let cases = [
            Case { text: "", options: json!({}), expected: json!([]) },
            Case {
                text: "😀 Sarah Connor",
                options: json!({}),
                expected: json!([
                    {"entity": "B-PER", "score": 0.5, "index": 2, "word": "sarah", "start": 3, "end": 8},
                    {"entity": "I-PER", "score": 0.5, "index": 3, "word": "con", "start": 9, "end": 12},
                    {"entity": "I-PER", "score": 0.5, "index": 4, "word": "##nor", "start": 12, "end": 15},
                ]),
            },
            Case {
                text: "👨\u{200d}👩\u{200d}👧 e\u{301} Sarah Connor",
                options: json!({"aggregation_strategy": "simple"}),
                expected: json!([{"entity_group": "PER", "score": 0.5, "word": "sarah connor", "start": 12, "end": 24}]),
            },
            Case {
                text: "Sarah Connor",
                options: json!({"aggregation_strategy": "first", "ignore_labels": ["PER"]}),
                expected: json!([]),
            },
            Case {
                text: "Sarah Connor",
                options: json!({"ignore_labels": ["I-PER"]}),
                expected: json!([{"entity": "B-PER", "score": 0.5, "index": 1, "word": "sarah", "start": 0, "end": 5}]),
            },
        ];
        for case in cases {
            let answers = call(12, &[case.text], case.options).unwrap();
            assert_eq!(answers[0].as_array().unwrap().len(), case.expected.as_array().unwrap().len(), "{answers}");
            for (found, expected) in answers[0].as_array().unwrap().iter().zip(case.expected.as_array().unwrap()) {
                for (key, expected) in expected.as_object().unwrap() {
                    match expected.as_f64() {
                        Some(expected) => {
                            assert!((found[key].as_f64().unwrap() - expected).abs() < 1e-6, "{key}: {found}")
                        }
                        None => assert_eq!(&found[key], expected, "{key}"),
                    }
                }
                assert_eq!(found.as_object().unwrap().len(), expected.as_object().unwrap().len(), "{found}");
            }
        }
    }

    #[test]
    fn windows_and_batches_change_nothing() {
        let windowed = encodings()["wordpiece"]["windows"]["text"].as_str().unwrap().repeat(3);
        let long = encodings()["wordpiece"]["long"]["text"].as_str().unwrap().repeat(20);
        let texts = ["", &windowed, "Sarah", &long];
        for strategy in ["none", "simple", "first", "average", "max"] {
            let whole = call(100_000, &texts, json!({"aggregation_strategy": strategy, "batch_size": 1})).unwrap();
            assert_eq!(whole[3].as_array().unwrap().len(), if strategy == "none" { 60 } else { 20 });
            for (max_length, stride, batch_size) in [(12, Some(4), 8), (8, Some(0), 3), (16, None, 1)] {
                let options = json!({"aggregation_strategy": strategy, "stride": stride, "batch_size": batch_size});
                assert_eq!(call(max_length, &texts, options).unwrap(), whole, "{strategy} {max_length}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        struct Case {
            texts: &'static [&'static str],
            model: FakeModel,
            stride: Option<usize>,
            code: ErrorCode,
            says: &'static str,
        }
        let logits = |make: fn(&[Vec<i64>]) -> Tensor| FakeModel::new("logits", make);
        let cases = [
            Case { texts: &[], model: names_model(), stride: None, code: ErrorCode::InvalidInput, says: "no text" },
            Case {
                texts: &["a"],
                model: names_model(),
                stride: Some(10),
                code: ErrorCode::InvalidInput,
                says: "stride",
            },
            Case {
                texts: &["a"],
                model: logits(|ids| per_token(ids, |_, _| vec![0.0, 1.0])),
                stride: None,
                code: ErrorCode::InvalidModel,
                says: "2 labels, and config.json names 3",
            },
            Case {
                texts: &["a"],
                model: logits(|ids| per_token(ids, |_, _| vec![0.0, f32::NAN, 0.0])),
                stride: None,
                code: ErrorCode::InvalidModel,
                says: "NaN",
            },
            Case {
                texts: &["a"],
                model: logits(|_| Tensor::new(&[1, 3], vec![0f32; 3]).unwrap()),
                stride: None,
                code: ErrorCode::InvalidModel,
                says: "per token",
            },
        ];
        for mut case in cases {
            let texts: Vec<String> = case.texts.iter().map(ToString::to_string).collect();
            let options = TokenClassificationOptions { stride: case.stride, ..TokenClassificationOptions::default() };
            let error = block_on(task(12).call(&mut case.model, &texts, &options)).unwrap_err();
            assert_eq!(error.code, case.code, "{error}");
            assert!(error.to_string().contains(case.says), "{error}");
        }
    }
}
