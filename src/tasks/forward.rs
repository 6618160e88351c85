//! Runs a model over windows of text, in padded batches, and hands each window its part of the output.

use super::Model;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, TensorData};
use crate::text::{Batch, Encoding, Tokenizer, Window};

/// Windows that are run at once, unless the caller says otherwise.
pub(super) const DEFAULT_BATCH_SIZE: usize = 8;

/// A window of one of the texts.
pub(super) struct TextWindow {
    /// Index of the text.
    pub text: usize,
    /// The window.
    pub window: Window,
}

/// What the model gave for one window.
pub(super) enum WindowOutput<'b> {
    /// A vector per token, from the window's first token on; where padding is to the right, the padding's after them.
    Tokens(&'b [f32]),
    /// One vector for the window.
    Pooled(&'b [f32]),
}

/// Encodes all texts.
pub(super) fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Result<Vec<Encoding>> {
    texts.iter().map(|text| tokenizer.encode(text)).collect()
}

/// Runs the windows, shortest first, and hands over each one's index, output and vector width.
///
/// The output is the first of `preferred` that the model has, else its first of shape `[batch, seq, width]`, else its
/// first of shape `[batch, width]`.
pub(super) async fn run_windows<M: Model>(
    model: &mut M,
    tokenizer: &Tokenizer,
    windows: &[TextWindow],
    batch_size: usize,
    preferred: &[&str],
    mut receive: impl FnMut(&TextWindow, WindowOutput<'_>, usize) -> Result<()>,
) -> Result<()> {
    let inputs = text_inputs(model)?;
    let fetches = fetches(model, preferred);
    let masked = inputs.iter().any(|name| name == "attention_mask");
    for chunk in chunks(windows, batch_size, masked)? {
        let rows: Vec<&Window> = chunk.iter().map(|row| &row.window).collect();
        let batch = Batch::new(tokenizer, &rows);
        let feeds = inputs.iter().map(|name| Ok((name.clone(), feed(&batch, name)?))).collect::<Result<_>>()?;
        let output = Output::choose(model.run(feeds, &fetches).await?, &batch)?;
        for (row, window) in chunk.iter().enumerate() {
            receive(window, output.row(row, &batch)?, output.width)?;
        }
    }
    Ok(())
}

/// The windows in runs of at most `batch_size`, ordered by length so that little is padding. A model without an attention
/// mask would take padding for text, so that only windows of one length share a run.
fn chunks(windows: &[TextWindow], batch_size: usize, masked: bool) -> Result<Vec<Vec<&TextWindow>>> {
    if batch_size == 0 {
        return Err(Error::invalid_input("`batch_size` is 0").remedy("pass a `batch_size` of at least 1"));
    }
    let mut ordered: Vec<&TextWindow> = windows.iter().collect();
    ordered.sort_by_key(|window| window.window.ids.len());
    let mut chunks: Vec<Vec<&TextWindow>> = Vec::new();
    for window in ordered {
        match chunks.last_mut() {
            Some(chunk)
                if chunk.len() < batch_size && (masked || chunk[0].window.ids.len() == window.window.ids.len()) =>
            {
                chunk.push(window);
            }
            _ => chunks.push(vec![window]),
        }
    }
    Ok(chunks)
}

/// The model's inputs, each of which a text task can give.
fn text_inputs<M: Model>(model: &M) -> Result<Vec<String>> {
    let inputs = model.input_names();
    if !inputs.iter().any(|name| name == "input_ids") {
        return Err(Error::invalid_input("the model has no such input, so that it does not read text")
            .tensor("input_ids")
            .remedy("use a model exported for this task"));
    }
    Ok(inputs)
}

fn feed(batch: &Batch, name: &str) -> Result<Tensor> {
    let values = batch.values(name).ok_or_else(|| {
        Error::invalid_input("the model asks for an input that this task cannot give")
            .tensor(name)
            .remedy("use a model exported for this task, or run it as an InferenceSession")
    })?;
    Tensor::new(&[batch.rows, batch.columns], values.to_vec())
}

fn fetches<M: Model>(model: &M, preferred: &[&str]) -> Vec<String> {
    let outputs = model.output_names();
    match preferred.iter().find(|name| outputs.iter().any(|output| output == *name)) {
        Some(name) => vec![(*name).to_string()],
        None => outputs,
    }
}

/// The chosen output of one run.
struct Output {
    name: String,
    data: Vec<f32>,
    width: usize,
    pooled: bool,
}

impl Output {
    fn choose(outputs: Vec<(String, Tensor)>, batch: &Batch) -> Result<Output> {
        let (rows, columns) = (batch.rows, batch.columns);
        let tokens = outputs.iter().position(|(_, tensor)| tensor.dims().len() == 3);
        let pooled = outputs.iter().position(|(_, tensor)| tensor.dims().len() == 2);
        let shapes: Vec<String> = outputs.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.dims())).collect();
        let (name, tensor) = tokens.or(pooled).and_then(|index| outputs.into_iter().nth(index)).ok_or_else(|| {
            Error::invalid_model(format!("no output has a vector per token or per text: {}", shapes.join(", ")))
                .remedy("use a model exported for this task")
        })?;
        let (dims, data) = tensor.into_parts();
        let width = dims[dims.len() - 1];
        let expected = if dims.len() == 3 { vec![rows, columns, width] } else { vec![rows, width] };
        if dims != expected || width == 0 {
            return Err(
                Error::invalid_model(format!("the output's shape is {dims:?}, expected {expected:?}")).tensor(name)
            );
        }
        Ok(Output { data: to_f32(data, &name)?, pooled: dims.len() == 2, width, name })
    }

    /// One row of the batch.
    fn row(&self, row: usize, batch: &Batch) -> Result<WindowOutput<'_>> {
        let row_length = if self.pooled { self.width } else { batch.columns * self.width };
        let start = if self.pooled { 0 } else { batch.starts[row] * self.width };
        let values = &self.data[row * row_length + start..(row + 1) * row_length];
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::invalid_model(format!("the model gave {value} instead of a number"))
                .tensor(self.name.as_str())
                .remedy("use the model in a wider dtype, e.g. fp32"));
        }
        Ok(if self.pooled { WindowOutput::Pooled(values) } else { WindowOutput::Tokens(values) })
    }
}

fn to_f32(data: TensorData, name: &str) -> Result<Vec<f32>> {
    match data {
        TensorData::Float32(values) => Ok(values),
        TensorData::Float64(values) => Ok(values.into_iter().map(|value| value as f32).collect()),
        TensorData::Float16(values) => Ok(values.into_iter().map(f32::from).collect()),
        TensorData::BFloat16(values) => Ok(values.into_iter().map(f32::from).collect()),
        other => Err(Error::invalid_model(format!("the output is {}, expected a float type", other.dtype().name()))
            .tensor(name)
            .remedy("use a model exported for this task")),
    }
}
