//! Tasks: text in, answer out, one file per task, with the option names and result shapes of transformers.js and of
//! Python's pipelines.

pub mod aggregation;
#[cfg(test)]
pub(crate) mod fake;
pub mod feature_extraction;
mod forward;
pub mod token_classification;

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::text::Tokenizer;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use feature_extraction::{FeatureExtraction, FeatureExtractionOptions, Pooling};
pub use token_classification::{Entity, TokenClassification, TokenClassificationOptions};

/// A loaded model, as the tasks see it.
#[allow(async_fn_in_trait)]
pub trait Model {
    /// Names of the graph's inputs, weights excluded.
    fn input_names(&self) -> Vec<String>;

    /// Names of the graph's outputs.
    fn output_names(&self) -> Vec<String>;

    /// Runs the graph on the inputs and gives the outputs asked for.
    async fn run(&mut self, feeds: Vec<(String, Tensor)>, fetches: &[String]) -> Result<Vec<(String, Tensor)>>;
}

/// The files beside a model that a task reads, as bytes.
#[derive(Debug, Clone, Default)]
pub struct PipelineFiles {
    /// `tokenizer.json`.
    pub tokenizer_json: Vec<u8>,
    /// `tokenizer_config.json`.
    pub tokenizer_config_json: Option<Vec<u8>>,
    /// `config.json`.
    pub config_json: Option<Vec<u8>>,
}

/// The answer of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum PipelineOutput {
    /// One tensor for all texts.
    Tensor(Tensor),
    /// An array with one element per text, in their order. Offsets are in UTF-16 units.
    Json(Value),
}

/// A task with its tokenizer and configuration.
pub enum Pipeline {
    /// `feature-extraction`.
    FeatureExtraction(FeatureExtraction),
    /// `token-classification`.
    TokenClassification(TokenClassification),
}

/// The names of the tasks that there are.
pub fn task_names() -> [&'static str; 2] {
    ["feature-extraction", "token-classification"]
}

impl Pipeline {
    /// Prepares a task. `ner` is another name for `token-classification`, as in transformers.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such task, `InvalidModel` when a file is not what it claims to be or lacks what
    /// the task needs.
    pub fn new(task: &str, files: &PipelineFiles) -> Result<Pipeline> {
        match task {
            "feature-extraction" => Ok(Pipeline::FeatureExtraction(FeatureExtraction::new(tokenizer(files)?))),
            "token-classification" | "ner" => {
                let config_json = files.config_json.as_deref();
                let task = TokenClassification::new(tokenizer(files)?, config_json)?;
                Ok(Pipeline::TokenClassification(task))
            }
            _ => Err(Error::invalid_input(format!("there is no task `{task}`"))
                .doing("preparing the pipeline")
                .remedy(format!("the tasks are {}", task_names().join(", ")))),
        }
    }

    /// Answers for each text. `options_json` is an object with the options of the task.
    ///
    /// # Errors
    /// `InvalidInput` when an option is unknown or does not fit, or when there is no text; what the model's run gives.
    pub async fn call<M: Model>(&self, model: &mut M, texts: &[String], options_json: &str) -> Result<PipelineOutput> {
        match self {
            Pipeline::FeatureExtraction(task) => {
                let options = parse_options(options_json)?;
                Ok(PipelineOutput::Tensor(task.call(model, texts, &options).await?))
            }
            Pipeline::TokenClassification(task) => {
                let options = parse_options(options_json)?;
                let entities = task.call(model, texts, &options).await?;
                let answers =
                    texts.iter().zip(&entities).map(|(text, entities)| token_classification::to_json(text, entities));
                Ok(PipelineOutput::Json(answers.collect()))
            }
        }
    }
}

fn tokenizer(files: &PipelineFiles) -> Result<Tokenizer> {
    let (tokenizer_config, config) = (files.tokenizer_config_json.as_deref(), files.config_json.as_deref());
    Tokenizer::from_json(&files.tokenizer_json, tokenizer_config, config)
}

/// Reads the options from a JSON object; the error names the option that does not fit.
fn parse_options<T: DeserializeOwned>(json: &str) -> Result<T> {
    let refuse = |message: String| {
        Error::invalid_input(message)
            .doing("reading the options")
            .remedy("pass only the options that the task documents")
    };
    let options: Map<String, Value> =
        serde_json::from_str(json).map_err(|error| refuse(format!("the options are not a JSON object: {error}")))?;
    for (name, value) in &options {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        T::deserialize(Value::Object(alone))
            .map_err(|error| refuse(format!("the option `{name}` does not fit: {error}")))?;
    }
    T::deserialize(Value::Object(options)).map_err(|error| refuse(error.to_string()))
}

fn no_text() -> Error {
    Error::invalid_input("there is no text").remedy("pass a text, or an array with at least one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::tasks::fake::{FakeModel, per_token};
    use crate::text::fixtures::tokenizer_json;
    use pollster::block_on;

    fn files(config: Option<&str>) -> PipelineFiles {
        PipelineFiles {
            tokenizer_json: tokenizer_json("wordpiece").to_vec(),
            tokenizer_config_json: None,
            config_json: config.map(|config| config.as_bytes().to_vec()),
        }
    }

    const LABELS: &str = r#"{"id2label": {"0": "O", "1": "B-PER"}}"#;

    #[test]
    fn every_task_answers() {
        let texts = ["Sarah".to_string(), String::new()];
        let answer = |task: &str| {
            let pipeline = Pipeline::new(task, &files(Some(LABELS))).unwrap();
            let mut model = FakeModel::new("logits", |ids| per_token(ids, |_, _| vec![0.0, 9.0]));
            block_on(pipeline.call(&mut model, &texts, "{}")).unwrap()
        };
        for task in [task_names()[1], "ner"] {
            let PipelineOutput::Json(answers) = answer(task) else { panic!("{task}") };
            assert_eq!(answers[0][0]["entity"], "B-PER");
            assert_eq!(answers[1], Value::Array(Vec::new()));
        }
        let PipelineOutput::Tensor(tensor) = answer(task_names()[0]) else { panic!("feature-extraction") };
        assert_eq!(tensor.dims(), [2, 3, 2]);
    }

    #[test]
    fn unknown_names_are_refused() {
        struct Case {
            task: &'static str,
            config: Option<&'static str>,
            options: &'static str,
            code: ErrorCode,
            says: &'static str,
        }
        let (feature, token) = ("feature-extraction", "token-classification");
        let input = ErrorCode::InvalidInput;
        let cases = [
            Case { task: "summarization", config: None, options: "{}", code: input, says: "feature-extraction, token" },
            Case { task: token, config: None, options: "{}", code: ErrorCode::InvalidModel, says: "config.json" },
            Case { task: token, config: Some("{}"), options: "{}", code: ErrorCode::InvalidModel, says: "id2label" },
            Case { task: feature, config: None, options: r#"{"quantize": true}"#, code: input, says: "`quantize`" },
            Case { task: feature, config: None, options: r#"{"pooling": "eos"}"#, code: input, says: "`pooling`" },
            Case { task: feature, config: None, options: r#"{"normalize": "yes"}"#, code: input, says: "`normalize`" },
            Case { task: feature, config: None, options: r#"{"max_length": -1}"#, code: input, says: "`max_length`" },
            Case { task: feature, config: None, options: "[]", code: input, says: "object" },
            Case { task: feature, config: None, options: "", code: input, says: "object" },
            Case {
                task: token,
                config: Some(LABELS),
                options: r#"{"pooling": "mean"}"#,
                code: input,
                says: "`pooling`",
            },
            Case {
                task: token,
                config: Some(LABELS),
                options: r#"{"aggregation_strategy": "most"}"#,
                code: input,
                says: "`aggregation_strategy`",
            },
        ];
        for case in cases {
            let mut model = FakeModel::new("logits", |ids| per_token(ids, |_, _| vec![0.0, 9.0]));
            let result = Pipeline::new(case.task, &files(case.config))
                .and_then(|pipeline| block_on(pipeline.call(&mut model, &["a".to_string()], case.options)));
            let error = result.unwrap_err();
            assert_eq!(error.code, case.code, "{error}");
            assert!(error.to_string().contains(case.says), "{error}");
            assert!(error.remedy.is_some(), "{error}");
        }
    }
}
