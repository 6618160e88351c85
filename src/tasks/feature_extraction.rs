//! `feature-extraction`: a vector per token, or one per text.

use super::forward::{DEFAULT_BATCH_SIZE, TextWindow, WindowOutput, encode, run_windows};
use super::{Model, no_text};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::text::window::{truncated, windows};
use crate::text::{Encoding, Tokenizer};
use serde::Deserialize;

/// Least divisor when scaling to unit length, as `torch.nn.functional.normalize`.
const NORMALIZE_EPSILON: f32 = 1e-12;

/// How a text's token vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// They do not: the answer has a vector per token.
    #[default]
    None,
    /// The mean of all tokens' vectors, special tokens included, as in sentence-transformers.
    Mean,
    /// The first token's vector.
    Cls,
}

/// Options of `feature-extraction`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureExtractionOptions {
    /// How token vectors become one per text.
    pub pooling: Pooling,
    /// Whether to scale each vector to unit length (L2).
    pub normalize: bool,
    /// Whether to cut off what exceeds `max_length`, instead of running it in overlapping windows.
    pub truncation: bool,
    /// Tokens run at once, special tokens included; at most, and by default, the model's limit.
    pub max_length: Option<usize>,
    /// Tokens that neighbouring windows share; by default a quarter of a window.
    pub stride: Option<usize>,
    /// Texts, or windows of long texts, run at once.
    pub batch_size: usize,
}

impl Default for FeatureExtractionOptions {
    fn default() -> Self {
        FeatureExtractionOptions {
            pooling: Pooling::None,
            normalize: false,
            truncation: false,
            max_length: None,
            stride: None,
            batch_size: DEFAULT_BATCH_SIZE,
        }
    }
}

/// The task with its tokenizer.
///
/// A text longer than the model takes is run in overlapping windows, and each token's vector is taken once, from the window
/// where it has most context. Pooling `mean` is the mean over them all. Pooling `cls` is the mean of the windows' first
/// vectors, each weighted by the number of tokens taken from its window.
///
/// The vectors are the output `last_hidden_state`, else `token_embeddings`, else the first with three axes. A model that
/// has none such but an output with two, a vector per text, has pooled by itself: it serves for pooling `mean` (of
/// several windows, the weighted mean) and is refused for the others.
pub struct FeatureExtraction {
    tokenizer: Tokenizer,
}

impl FeatureExtraction {
    /// Prepares the task.
    pub fn new(tokenizer: Tokenizer) -> FeatureExtraction {
        FeatureExtraction { tokenizer }
    }

    /// The vectors as float32: `[batch, seq, hidden]` without pooling, where rows past the end of a text shorter than the
    /// longest mean nothing; else `[batch, hidden]`.
    ///
    /// # Errors
    /// `InvalidInput` when there is no text, a text has no tokens, or an option does not fit; `InvalidModel` when the
    /// model's output has another shape or type, or holds NaN or infinity; what the model's run gives.
    pub async fn call<M: Model>(
        &self,
        model: &mut M,
        texts: &[String],
        options: &FeatureExtractionOptions,
    ) -> Result<Tensor> {
        let encodings = encode(&self.tokenizer, texts)?;
        let windows = self.split(&encodings, options)?;
        let mut gathered = Gathered::new(options.pooling, &windows, texts.len());
        let preferred = ["last_hidden_state", "token_embeddings"];
        run_windows(model, &self.tokenizer, &windows, options.batch_size, &preferred, |window, output, width| {
            gathered.add(window, &output, width)
        })
        .await?;
        let (dims, mut data) = gathered.into_parts();
        if options.normalize {
            normalize(&mut data, dims[dims.len() - 1]);
        }
        Tensor::new(&dims, data)
    }

    fn split(&self, encodings: &[Encoding], options: &FeatureExtractionOptions) -> Result<Vec<TextWindow>> {
        if encodings.is_empty() {
            return Err(no_text());
        }
        if options.truncation && options.stride.is_some() {
            return Err(Error::invalid_input("`stride` has no meaning with `truncation`").remedy("pass one of the two"));
        }
        let max_length = self.window_length(options.max_length)?;
        let mut split = Vec::new();
        for (text, encoding) in encodings.iter().enumerate() {
            if encoding.is_empty() {
                return Err(Error::invalid_input(format!("text {text} has no tokens")).remedy("leave empty texts out"));
            }
            let parts = match options.truncation {
                true => vec![truncated(encoding, max_length, self.tokenizer.truncation_side())?],
                false => windows(encoding, max_length, options.stride)?,
            };
            split.extend(parts.into_iter().map(|window| TextWindow { text, window }));
        }
        Ok(split)
    }

    fn window_length(&self, asked: Option<usize>) -> Result<usize> {
        let limit = self.tokenizer.max_length().unwrap_or(usize::MAX);
        match asked {
            Some(length) if length > limit => {
                Err(Error::invalid_input(format!("`max_length` is {length}, and the model takes {limit} tokens"))
                    .remedy("pass a smaller `max_length`, or none"))
            }
            asked => Ok(asked.unwrap_or(limit)),
        }
    }
}

/// The answer while it comes together, window by window.
struct Gathered {
    pooling: Pooling,
    lengths: Vec<usize>,
    width: usize,
    data: Vec<f32>,
}

impl Gathered {
    fn new(pooling: Pooling, windows: &[TextWindow], texts: usize) -> Gathered {
        let mut lengths = vec![0; texts];
        for window in windows {
            lengths[window.text] = window.window.kept.end.max(lengths[window.text]);
        }
        Gathered { pooling, lengths, width: 0, data: Vec::new() }
    }

    /// Vectors in the answer for each text.
    fn rows(&self) -> usize {
        if self.pooling == Pooling::None { self.lengths.iter().copied().max().unwrap_or(0) } else { 1 }
    }

    fn add(&mut self, window: &TextWindow, output: &WindowOutput<'_>, width: usize) -> Result<()> {
        let row_length = self.rows() * width;
        if self.data.is_empty() {
            (self.width, self.data) = (width, vec![0.0; self.lengths.len() * row_length]);
        }
        if width != self.width {
            return Err(Error::invalid_model(format!("the vectors' width changed from {} to {width}", self.width)));
        }
        let length = self.lengths[window.text];
        let answer = &mut self.data[window.text * row_length..][..row_length];
        let (kept, kept_here) = (&window.window.kept, window.window.kept_here());
        match (self.pooling, output) {
            (Pooling::None, WindowOutput::Tokens(vectors)) => {
                let whole = kept_here.len() == length;
                let vectors = if whole { vectors } else { &vectors[kept_here.start * width..kept_here.end * width] };
                let target = &mut answer[kept.start * width..];
                let count = vectors.len().min(target.len());
                target[..count].copy_from_slice(&vectors[..count]);
            }
            (Pooling::Mean, WindowOutput::Tokens(vectors)) => {
                for vector in vectors[kept_here.start * width..kept_here.end * width].chunks_exact(width) {
                    add_scaled(answer, vector, 1.0);
                }
            }
            (Pooling::Cls, WindowOutput::Tokens(vectors)) => {
                add_scaled(answer, &vectors[..width], kept.len() as f32 / length as f32);
            }
            (Pooling::Mean, WindowOutput::Pooled(vector)) => add_scaled(answer, vector, kept.len() as f32),
            (Pooling::None | Pooling::Cls, WindowOutput::Pooled(_)) => {
                return Err(Error::invalid_input("the model gives one vector per text, and none per token")
                    .remedy("pass `pooling: 'mean'`, or use a model with the output `last_hidden_state`"));
            }
        }
        Ok(())
    }

    /// Shape and elements of the answer.
    fn into_parts(mut self) -> (Vec<usize>, Vec<f32>) {
        let (texts, rows, width) = (self.lengths.len(), self.rows(), self.width);
        if self.pooling == Pooling::Mean {
            for (sum, length) in self.data.chunks_exact_mut(width).zip(&self.lengths) {
                sum.iter_mut().for_each(|value| *value /= *length as f32);
            }
        }
        let dims = if self.pooling == Pooling::None { vec![texts, rows, width] } else { vec![texts, width] };
        (dims, self.data)
    }
}

fn add_scaled(sum: &mut [f32], vector: &[f32], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += value * factor;
    }
}

/// Scales each vector to unit length.
fn normalize(data: &mut [f32], width: usize) {
    for vector in data.chunks_exact_mut(width) {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(NORMALIZE_EPSILON);
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::tasks::fake::{FakeModel, per_token};
    use crate::text::fixtures::{encodings, tokenizer};
    use pollster::block_on;

    /// Three tokens and, as `my` is `m ##y`, six; special tokens included.
    const SHORT: &str = "name";
    const LONG: &str = "my name in";

    /// Each token's vector is `[id, 1]`.
    fn ids_model(output: &'static str) -> FakeModel {
        FakeModel::new(output, |ids| per_token(ids, |row, at| vec![row[at] as f32, 1.0]))
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn options() -> FeatureExtractionOptions {
        FeatureExtractionOptions::default()
    }

    fn call(model: &mut FakeModel, texts_given: &[&str], options: &FeatureExtractionOptions) -> Result<Tensor> {
        let task = FeatureExtraction::new(tokenizer("wordpiece", r#"{"model_max_length": 12}"#));
        block_on(task.call(model, &texts(texts_given), options))
    }

    fn ids_of(text: &str) -> Vec<f32> {
        tokenizer("wordpiece", "{}").encode(text).unwrap().ids.iter().map(|id| *id as f32).collect()
    }

    fn mean(values: &[f32]) -> f32 {
        values.iter().sum::<f32>() / values.len() as f32
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
        }
    }

    #[test]
    fn pools_short_texts() {
        let (short, long) = (mean(&ids_of(SHORT)), mean(&ids_of(LONG)));
        let unit = |mean: f32| (mean * mean + 1.0).sqrt();
        struct Case {
            pooling: Pooling,
            normalize: bool,
            expected: Vec<f32>,
        }
        let cases = [
            Case { pooling: Pooling::Mean, normalize: false, expected: vec![long, 1.0, short, 1.0] },
            Case {
                pooling: Pooling::Mean,
                normalize: true,
                expected: vec![long / unit(long), 1.0 / unit(long), short / unit(short), 1.0 / unit(short)],
            },
            Case { pooling: Pooling::Cls, normalize: false, expected: vec![2.0, 1.0, 2.0, 1.0] },
        ];
        for output in ["last_hidden_state", "token_embeddings", "hidden"] {
            for case in &cases {
                let options =
                    FeatureExtractionOptions { pooling: case.pooling, normalize: case.normalize, ..options() };
                let tensor = call(&mut ids_model(output), &[LONG, SHORT], &options).unwrap();
                assert_eq!(tensor.dims(), [2, 2]);
                assert_close(tensor.as_f32().unwrap(), &case.expected);
            }
        }
    }

    #[test]
    fn without_pooling_there_is_a_vector_per_token() {
        let tensor = call(&mut ids_model("last_hidden_state"), &[SHORT, LONG], &options()).unwrap();
        let (short, long) = (ids_of(SHORT), ids_of(LONG));
        assert_eq!(tensor.dims(), [2, long.len(), 2]);
        let found: Vec<f32> = tensor.as_f32().unwrap().iter().step_by(2).copied().collect();
        assert_eq!(found[..short.len()], short);
        assert_eq!(found[long.len()..], long);
    }

    #[test]
    fn long_texts_count_each_token_once() {
        let case = &encodings()["wordpiece"]["windows"];
        let text = case["text"].as_str().unwrap();
        let window_sums: Vec<f32> = case["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ids| ids.as_array().unwrap().iter().map(|id| id.as_f64().unwrap() as f32).sum())
            .collect();
        let whole = ids_of(text);
        for batch_size in [1, 2, 8] {
            let long = FeatureExtractionOptions { stride: Some(4), batch_size, ..options() };
            let none = call(&mut ids_model("last_hidden_state"), &[SHORT, text], &long).unwrap();
            let found: Vec<f32> = none.as_f32().unwrap().iter().step_by(2).copied().collect();
            assert_eq!(found[whole.len()..], whole);

            let pooled = FeatureExtractionOptions { pooling: Pooling::Mean, ..long.clone() };
            let tensor = call(&mut ids_model("last_hidden_state"), &[text], &pooled).unwrap();
            assert_close(tensor.as_f32().unwrap(), &[mean(&whole), 1.0]);

            // 33 tokens in windows that keep 9, 6, 6, 6 and 6 of them.
            let sums = |ids: &[Vec<i64>]| per_token(ids, |row, _| vec![row.iter().sum::<i64>() as f32]);
            let pooled = FeatureExtractionOptions { pooling: Pooling::Cls, ..long };
            let tensor = call(&mut FakeModel::new("last_hidden_state", sums), &[text], &pooled).unwrap();
            let kept = [9.0, 6.0, 6.0, 6.0, 6.0];
            let expected: f32 = window_sums.iter().zip(kept).map(|(sum, kept)| sum * kept / 33.0).sum();
            assert_close(tensor.as_f32().unwrap(), &[expected]);
        }
    }

    #[test]
    fn truncation_cuts_off() {
        let text = encodings()["wordpiece"]["windows"]["text"].as_str().unwrap().to_string();
        let cut = FeatureExtractionOptions { truncation: true, max_length: Some(5), ..options() };
        let mut model = ids_model("last_hidden_state");
        assert_eq!(call(&mut model, &[&text], &cut).unwrap().dims(), [1, 5, 2]);
        let whole = ids_of(&text);
        let expected: Vec<i64> = [&whole[..4], &[3.0]].concat().iter().map(|id| *id as i64).collect();
        assert_eq!(model.runs[0][0].1, [expected]);
    }

    #[test]
    fn feeds_what_the_model_declares() {
        let mut model = ids_model("last_hidden_state");
        model.inputs = vec!["token_type_ids", "input_ids"];
        call(&mut model, &[LONG, SHORT, LONG], &options()).unwrap();
        let shapes: Vec<Vec<(&str, usize, usize)>> = model
            .runs
            .iter()
            .map(|run| run.iter().map(|(name, rows)| (name.as_str(), rows.len(), rows[0].len())).collect())
            .collect();
        // Without a mask, only texts of one length share a run.
        let expected =
            [vec![("token_type_ids", 1, 3), ("input_ids", 1, 3)], vec![("token_type_ids", 2, 6), ("input_ids", 2, 6)]];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn left_padding_is_left_out() {
        let task =
            FeatureExtraction::new(tokenizer("wordpiece", r#"{"padding_side": "left", "model_max_length": 12}"#));
        for pooling in [Pooling::None, Pooling::Mean, Pooling::Cls] {
            let options = FeatureExtractionOptions { pooling, ..options() };
            let together = block_on(task.call(&mut ids_model("last_hidden_state"), &texts(&[LONG, SHORT]), &options));
            let alone = block_on(task.call(&mut ids_model("last_hidden_state"), &texts(&[SHORT]), &options)).unwrap();
            let together = together.unwrap();
            let row = together.as_f32().unwrap().len() / 2;
            let alone = alone.as_f32().unwrap();
            assert_close(&together.as_f32().unwrap()[row..row + alone.len()], alone);
        }
    }

    #[test]
    fn a_model_that_pools_serves_for_the_mean() {
        let pooled = |ids: &[Vec<i64>]| {
            let sums: Vec<f32> = ids.iter().map(|row| row.iter().sum::<i64>() as f32).collect();
            Tensor::new(&[ids.len(), 1], sums).unwrap()
        };
        let options = FeatureExtractionOptions { pooling: Pooling::Mean, ..options() };
        let tensor = call(&mut FakeModel::new("sentence_embedding", pooled), &[SHORT], &options).unwrap();
        assert_eq!(tensor.dims(), [1, 1]);
        assert_close(tensor.as_f32().unwrap(), &[ids_of(SHORT).iter().sum()]);
        for pooling in [Pooling::None, Pooling::Cls] {
            let options = FeatureExtractionOptions { pooling, ..options };
            let error = call(&mut FakeModel::new("sentence_embedding", pooled), &[SHORT], &options).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidInput);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        struct Case {
            texts: &'static [&'static str],
            options: FeatureExtractionOptions,
            model: FakeModel,
            code: ErrorCode,
            says: &'static str,
        }
        let model = || ids_model("last_hidden_state");
        let hidden = |make: fn(&[Vec<i64>]) -> Tensor| FakeModel::new("last_hidden_state", make);
        let with_inputs = |inputs: &[&'static str]| FakeModel { inputs: inputs.to_vec(), ..model() };
        let input = ErrorCode::InvalidInput;
        let invalid = ErrorCode::InvalidModel;
        let cases = [
            Case { texts: &[], options: options(), model: model(), code: input, says: "no text" },
            Case {
                texts: &["a"],
                options: FeatureExtractionOptions { max_length: Some(13), ..options() },
                model: model(),
                code: input,
                says: "max_length",
            },
            Case {
                texts: &["a"],
                options: FeatureExtractionOptions { max_length: Some(2), ..options() },
                model: model(),
                code: input,
                says: "max_length",
            },
            Case {
                texts: &["a"],
                options: FeatureExtractionOptions { stride: Some(10), ..options() },
                model: model(),
                code: input,
                says: "stride",
            },
            Case {
                texts: &["a"],
                options: FeatureExtractionOptions { stride: Some(1), truncation: true, ..options() },
                model: model(),
                code: input,
                says: "stride",
            },
            Case {
                texts: &["a"],
                options: FeatureExtractionOptions { batch_size: 0, ..options() },
                model: model(),
                code: input,
                says: "batch_size",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: with_inputs(&["pixel_values"]),
                code: input,
                says: "input_ids",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: with_inputs(&["input_ids", "past_key_values.0.key"]),
                code: input,
                says: "past_key_values.0.key",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: hidden(|ids| per_token(ids, |_, at| vec![0.0, if at == 1 { f32::NAN } else { 0.0 }])),
                code: invalid,
                says: "NaN",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: hidden(|ids| per_token(ids, |_, _| vec![f32::INFINITY])),
                code: invalid,
                says: "inf",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: hidden(|ids| Tensor::new(&[1, ids[0].len() + 1, 1], vec![0f32; ids[0].len() + 1]).unwrap()),
                code: invalid,
                says: "shape",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: hidden(|ids| Tensor::new(&[1, ids[0].len(), 1], vec![0i64; ids[0].len()]).unwrap()),
                code: invalid,
                says: "int64",
            },
            Case {
                texts: &["a"],
                options: options(),
                model: hidden(|_| Tensor::new(&[1], vec![0f32]).unwrap()),
                code: invalid,
                says: "last_hidden_state",
            },
        ];
        for mut case in cases {
            let error = call(&mut case.model, case.texts, &case.options).unwrap_err();
            assert_eq!(error.code, case.code, "{error}");
            assert!(error.to_string().contains(case.says), "{error}");
        }
    }
}
