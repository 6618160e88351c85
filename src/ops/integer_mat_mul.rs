//! `IntegerMatMul`: ONNX `MatMul` (9 to 13) of integers, with batches that broadcast. Sums wrap.
//!
//! Inputs: two of one integer type, of one rank, 2 or more. Output: that type.

use super::plain::{Plain, broadcast_shape, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct IntegerMatMul;

impl Plain for IntegerMatMul {
    const NAME: &'static str = "IntegerMatMul";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [a, b] = [inputs[0], inputs[1]];
        let rank = a.rank();
        ensure!(rank >= 2 && b.rank() == rank, "two tensors of one rank of 2 or more are needed");
        ensure!(a.datum_type.is_integer() && a.datum_type == b.datum_type, "two of one integer type are needed");
        ensure!(a.shape[rank - 1].compatible_with(&b.shape[rank - 2]), "{:?} x {:?}", a.shape, b.shape);
        let batch = |fact: &TypedFact| fact.datum_type.fact(&fact.shape[..rank - 2]);
        let mut shape = broadcast_shape(&[&batch(a), &batch(b)])?;
        shape.extend([a.shape[rank - 2].clone(), b.shape[rank - 1].clone()]);
        Ok(tvec!(a.datum_type.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        macro_rules! multiply {
            ($($variant:ident $type:ty),*) => {
                match inputs[0].datum_type() {
                    $(DatumType::$variant => product::<$type>(&inputs[0], &inputs[1], |sum, a, b| {
                        sum.wrapping_add(a.wrapping_mul(b))
                    })?,)*
                    other => bail!("{other:?} is no integer type"),
                }
            };
        }
        Ok(tvec!(multiply!(I32 i32, U32 u32, I64 i64, U64 u64)))
    }
}

fn product<T: Datum + Copy + Default>(
    a: &Tensor,
    b: &Tensor,
    add_product: impl Fn(T, T, T) -> T,
) -> TractResult<Tensor> {
    let rank = a.rank();
    let [rows, depth, columns] = [a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]];
    ensure!(b.shape()[rank - 2] == depth, "{:?} x {:?}", a.shape(), b.shape());
    let batch = tract_core::broadcast::multi_broadcast(&[&a.shape()[..rank - 2], &b.shape()[..rank - 2]])?;
    let (left, right) = (elements::<T>(a)?, elements::<T>(b)?);
    let mut product = Vec::new();
    for batch in tract_ndarray::indices(&*batch) {
        let matrix = |shape: &[usize]| {
            let axes = shape[..rank - 2].iter().enumerate();
            axes.fold(0, |at, (axis, size)| at * size + if *size == 1 { 0 } else { batch[axis] })
        };
        let left = &left[matrix(a.shape()) * rows * depth..][..rows * depth];
        let right = &right[matrix(b.shape()) * depth * columns..][..depth * columns];
        for row in 0..rows {
            for column in 0..columns {
                let terms = (0..depth).map(|k| (left[row * depth + k], right[k * columns + column]));
                product.push(terms.fold(T::default(), |sum, (a, b)| add_product(sum, a, b)));
            }
        }
    }
    let shape: Vec<usize> = batch.iter().copied().chain([rows, columns]).collect();
    tensor_of(&shape, &product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products() {
        let batched = |values: &[i32]| Tensor::from_shape(&[2, 1, 2], values).unwrap();
        let cases = [
            (tensor2(&[[1i32, 2], [3, 4]]), tensor2(&[[5, 6], [7, 8]]), tensor2(&[[19, 22], [43, 50]])),
            (tensor2(&[[i64::MAX, 1]]), tensor2(&[[2i64], [5]]), tensor2(&[[3i64]])),
            (tensor2(&[[u32::MAX]]), tensor2(&[[u32::MAX]]), tensor2(&[[1u32]])),
            (batched(&[1, 2, 3, 4]), tensor3(&[[[1], [10]]]), Tensor::from_shape(&[2, 1, 1], &[21, 43]).unwrap()),
            (
                Tensor::from_shape::<i32>(&[1, 0], &[]).unwrap(),
                Tensor::from_shape::<i32>(&[0, 2], &[]).unwrap(),
                tensor2(&[[0, 0]]),
            ),
        ];
        for (a, b, expected) in cases {
            let inputs = [a.into_tvalue(), b.into_tvalue()];
            assert_eq!(IntegerMatMul.compute(&inputs).unwrap()[0], expected, "{inputs:?}");
        }
    }

    #[test]
    fn refused() {
        let cases = [
            (f32::fact([2, 2]), f32::fact([2, 2])),
            (i32::fact([2, 2]), i64::fact([2, 2])),
            (i32::fact([2, 3]), i32::fact([2, 3])),
            (i32::fact([2]), i32::fact([2])),
        ];
        for (a, b) in cases {
            assert!(IntegerMatMul.facts(&[&a, &b]).is_err(), "{a:?} {b:?}");
        }
    }
}
