//! A model for tests: its outputs are made by a function of the inputs, and it keeps what it was fed.

use super::Model;
use crate::error::Result;
use crate::tensor::{Tensor, TensorData};

type Make = Box<dyn Fn(&[Vec<i64>]) -> Tensor>;

/// Inputs of one run: names and rows.
pub(crate) type Fed = Vec<(String, Vec<Vec<i64>>)>;

pub(crate) struct FakeModel {
    pub inputs: Vec<&'static str>,
    /// Output names, with what gives the output for rows of `input_ids`.
    pub outputs: Vec<(&'static str, Make)>,
    /// What each run was fed.
    pub runs: Vec<Fed>,
}

impl FakeModel {
    pub fn new(name: &'static str, make: impl Fn(&[Vec<i64>]) -> Tensor + 'static) -> FakeModel {
        let inputs = vec!["input_ids", "attention_mask"];
        FakeModel { inputs, outputs: vec![(name, Box::new(make))], runs: Vec::new() }
    }
}

impl Model for FakeModel {
    fn input_names(&self) -> Vec<String> {
        self.inputs.iter().map(ToString::to_string).collect()
    }

    fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|(name, _)| name.to_string()).collect()
    }

    async fn run(&mut self, feeds: Vec<(String, Tensor)>, fetches: &[String]) -> Result<Vec<(String, Tensor)>> {
        let fed: Fed = feeds.into_iter().map(|(name, tensor)| (name, rows(&tensor))).collect();
        let (_, ids) = fed.iter().find(|(name, _)| name == "input_ids").expect("input_ids are fed");
        let made = |name: &String| {
            let (_, make) = self.outputs.iter().find(|(output, _)| output == name).expect("the output exists");
            (name.clone(), make(ids))
        };
        let outputs = fetches.iter().map(made).collect();
        self.runs.push(fed);
        Ok(outputs)
    }
}

fn rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    let TensorData::Int64(values) = tensor.data() else { panic!("expected int64, got {}", tensor.dtype().name()) };
    values.chunks(tensor.dims()[1]).map(<[i64]>::to_vec).collect()
}

/// A `[batch, seq, width]` tensor whose vectors a function makes of a row and a column.
pub(crate) fn per_token(ids: &[Vec<i64>], vector: impl Fn(&[i64], usize) -> Vec<f32>) -> Tensor {
    let vectors: Vec<Vec<f32>> = ids.iter().flat_map(|row| (0..row.len()).map(|at| vector(row, at))).collect();
    Tensor::new(&[ids.len(), ids[0].len(), vectors[0].len()], vectors.concat()).unwrap()
}
