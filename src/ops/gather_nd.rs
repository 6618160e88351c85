//! `GatherNd`: ONNX `GatherND` (11 to 13).
//!
//! Inputs: data of any type; i64 indices `[batches..., ..., coordinates]`, negative ones from the end. Output: the data's
//! type, `[batches..., ..., rest of the data]`.

use super::plain::{Plain, elements, wrapped};
use crate::error::Error;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GatherNd {
    /// Leading axes that data and indices share.
    pub batch_dims: usize,
}

impl Plain for GatherNd {
    const NAME: &'static str = "GatherNd";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (data, indices) = (inputs[0].shape.to_tvec(), inputs[1].shape.to_tvec());
        let (coordinates, leading) = indices.split_last().context("the indices are a scalar")?;
        let first_kept = self.batch_dims + coordinates.to_usize().context("the number of coordinates is not known")?;
        ensure!(first_kept <= data.len() && self.batch_dims <= leading.len(), "more coordinates than axes");
        let shape: TVec<TDim> = leading.iter().chain(&data[first_kept..]).cloned().collect();
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (data, indices) = (&inputs[0], &inputs[1]);
        let (coordinates, leading) = indices.shape().split_last().context("the indices are a scalar")?;
        let kept = &data.shape()[self.batch_dims + coordinates..];
        let chosen = &data.shape()[self.batch_dims..self.batch_dims + coordinates];
        let rows: usize = leading.iter().product();
        let batches: usize = leading[..self.batch_dims].iter().product();
        ensure!(leading[..self.batch_dims] == data.shape()[..self.batch_dims], "the batches differ");
        let positions: usize = chosen.iter().product();
        let indices = elements::<i64>(indices)?;
        let row = |row: usize| -> TractResult<usize> {
            let batch = row / (rows / batches);
            let mut position = 0;
            for (index, size) in indices[row * coordinates..][..*coordinates].iter().zip(chosen) {
                let index = wrapped(*index, *size).ok_or_else(|| {
                    Error::invalid_input(format!("index {index} of an axis of size {size}")).op("GatherND")
                })?;
                position = position * size + index;
            }
            Ok(batch * positions + position)
        };
        let rows = (0..rows).map(row).collect::<TractResult<Vec<usize>>>()?;
        let shape: TVec<usize> = leading.iter().chain(kept).copied().collect();
        Ok(tvec!(super::plain::rows(data, &rows, kept.iter().product(), &shape)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]`.
    fn gather(batch_dims: usize, indices: Tensor) -> Option<Tensor> {
        let data = Tensor::from_shape(&[2, 2, 2], &(0..8).collect::<Vec<i32>>()).unwrap();
        GatherNd { batch_dims }.compute(&[data.into_tvalue(), indices.into_tvalue()]).ok().map(|mut all| all.remove(0))
    }

    #[test]
    fn coordinates_and_batches() {
        let cases = [
            (0, tensor2(&[[0i64, 0, 1], [1, 1, 0]]), tensor1(&[1, 6])),
            (0, tensor2(&[[-1i64, 0]]), tensor2(&[[4, 5]])),
            (0, tensor1(&[1i64]), tensor2(&[[4, 5], [6, 7]])),
            (1, tensor2(&[[1i64], [0]]), tensor2(&[[2, 3], [4, 5]])),
            (1, tensor2(&[[1i64, -1], [0, 0]]), tensor1(&[3, 4])),
        ];
        for (batch_dims, indices, expected) in cases {
            assert_eq!(gather(batch_dims, indices.clone()), Some(expected), "{batch_dims} {indices:?}");
        }
    }

    #[test]
    fn refused() {
        for (batch_dims, indices) in [(0, tensor1(&[2i64])), (0, tensor1(&[-3i64])), (1, tensor2(&[[0i64]]))] {
            assert_eq!(gather(batch_dims, indices.clone()), None, "{batch_dims} {indices:?}");
        }
        let fact = |indices: [usize; 2]| {
            GatherNd { batch_dims: 1 }.facts(&[&i32::fact([2, 2, 2]), &i64::fact(indices)]).is_ok()
        };
        assert!(fact([2, 2]) && !fact([2, 3]), "more coordinates than axes");
    }
}
