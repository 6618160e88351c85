//! Checks what a caller feeds against what the model declares.

use super::convert::to_tract;
use super::held::HeldTensor;
use crate::error::{Error, Result};
use crate::onnx::{Dimension, TensorInfo};
use crate::tensor::{DType, Tensor};
use std::collections::{HashMap, HashSet};
use tract_core::prelude::{IntoTValue, TValue, TVec};

/// What is fed to an input.
#[derive(Clone, Copy)]
pub enum Feed<'a> {
    /// The caller's data, which is copied.
    Tensor(&'a Tensor),
    /// What an earlier run left in the engine's memory.
    Held(&'a HeldTensor),
}

impl Feed<'_> {
    fn dtype(&self) -> DType {
        match self {
            Feed::Tensor(tensor) => tensor.dtype(),
            Feed::Held(tensor) => tensor.dtype(),
        }
    }

    fn dims(&self) -> &[usize] {
        match self {
            Feed::Tensor(tensor) => tensor.dims(),
            Feed::Held(tensor) => tensor.dims(),
        }
    }

    fn value(&self) -> Result<TValue> {
        match self {
            Feed::Tensor(tensor) => Ok(to_tract(tensor)?.into_tvalue()),
            Feed::Held(tensor) => Ok(tensor.value()),
        }
    }
}

/// The fed tensors in the order of the model's inputs.
///
/// # Errors
/// `InvalidInput` naming the tensor: unknown or missing, fed twice, or of another dtype, rank or fixed size.
pub fn arrange(inputs: &[TensorInfo], feeds: &[(String, Feed)]) -> Result<TVec<TValue>> {
    if feeds.len() != inputs.len() {
        return Err(misfit(inputs, feeds));
    }
    let mut arranged = TVec::new();
    for (place, input) in inputs.iter().enumerate() {
        let is_for_it = |(name, _): &&(String, Feed)| *name == *input.name;
        // Most callers feed in order.
        let fed = feeds.get(place).filter(is_for_it).or_else(|| feeds.iter().find(is_for_it));
        let Some((_, tensor)) = fed else { return Err(misfit(inputs, feeds)) };
        check(input, tensor).map_err(|error| error.tensor(&*input.name))?;
        arranged.push(tensor.value()?);
    }
    Ok(arranged)
}

/// What is wrong with feeds that are not one for each input.
fn misfit(inputs: &[TensorInfo], feeds: &[(String, Feed)]) -> Error {
    let names = || inputs.iter().map(|input| &*input.name).collect::<Vec<_>>().join(", ");
    let known: HashSet<&str> = inputs.iter().map(|input| &*input.name).collect();
    let mut fed = HashSet::new();
    for (name, _) in feeds {
        if !known.contains(&**name) {
            return Error::invalid_input("the model has no input of this name")
                .tensor(name)
                .remedy(format!("the inputs are {}", names()));
        }
        if !fed.insert(&**name) {
            return Error::invalid_input("an input is fed twice").tensor(name);
        }
    }
    let missing = inputs.iter().find(|input| !fed.contains(&*input.name));
    Error::invalid_input("an input of the model is missing")
        .tensor(missing.map_or("", |input| &*input.name))
        .remedy(format!("feed all of {}", names()))
}

fn check(input: &TensorInfo, tensor: &Feed) -> Result<()> {
    if tensor.dtype() != input.dtype {
        return Err(Error::invalid_input(format!("expected {}, got {}", input.dtype.name(), tensor.dtype().name()))
            .remedy(format!("pass {} elements", input.dtype.name())));
    }
    let Some(shape) = &input.shape else { return Ok(()) };
    let fits = |(dimension, actual): (&Dimension, &usize)| match dimension {
        Dimension::Fixed(expected) => expected == actual,
        Dimension::Symbol(_) => true,
    };
    if shape.len() == tensor.dims().len() && shape.iter().zip(tensor.dims()).all(fits) {
        return Ok(());
    }
    Err(mismatch(shape, tensor.dims()).remedy("pass a tensor of the expected shape"))
}

fn mismatch(expected: &[Dimension], actual: &[usize]) -> Error {
    let expected: Vec<String> = expected.iter().map(Dimension::to_string).collect();
    Error::invalid_input(format!("expected shape [{}], got {actual:?}", expected.join(", ")))
}

/// Checks that each symbol stands for one size in all inputs that are read.
///
/// # Errors
/// `InvalidInput` naming the tensor.
pub fn check_symbols<'a>(fed: impl Iterator<Item = (&'a TensorInfo, &'a [usize])>) -> Result<()> {
    let mut symbols = HashMap::new();
    for (input, dims) in fed {
        let Some(shape) = &input.shape else { continue };
        for (dimension, actual) in shape.iter().zip(dims) {
            let Dimension::Symbol(name) = dimension else { continue };
            if name.is_empty() {
                continue;
            }
            let expected = *symbols.entry(name).or_insert(*actual);
            if expected != *actual {
                return Err(mismatch(shape, dims)
                    .tensor(&*input.name)
                    .remedy(format!("`{name}` is {expected} in an earlier input: make the inputs agree")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::tensor::DType;

    #[test]
    fn feeds_and_their_errors() {
        let shape = || Some(vec![Dimension::Symbol("batch".into()), Dimension::Fixed(2)]);
        let inputs = [
            TensorInfo { name: "a".into(), dtype: DType::Int64, shape: shape() },
            TensorInfo { name: "b".into(), dtype: DType::Float32, shape: shape() },
        ];
        let ints = |dims: &[usize]| Tensor::new(dims, vec![0i64; dims.iter().product()]).unwrap();
        let floats = |dims: &[usize]| Tensor::new(dims, vec![0f32; dims.iter().product()]).unwrap();
        let cases = [
            ("fits, in any order", vec![("b", floats(&[3, 2])), ("a", ints(&[3, 2]))], None),
            ("missing", vec![("a", ints(&[3, 2]))], Some("b")),
            ("another", vec![("a", ints(&[3, 2])), ("c", floats(&[3, 2]))], Some("c")),
            ("unknown", vec![("a", ints(&[3, 2])), ("b", floats(&[3, 2])), ("c", ints(&[1]))], Some("c")),
            ("twice", vec![("a", ints(&[3, 2])), ("a", ints(&[3, 2])), ("b", floats(&[3, 2]))], Some("a")),
            ("dtype", vec![("a", floats(&[3, 2])), ("b", floats(&[3, 2]))], Some("a")),
            ("rank", vec![("a", ints(&[6])), ("b", floats(&[3, 2]))], Some("a")),
            ("fixed size", vec![("a", ints(&[3, 1])), ("b", floats(&[3, 2]))], Some("a")),
            ("symbol", vec![("a", ints(&[3, 2])), ("b", floats(&[4, 2]))], Some("b")),
        ];
        for (what, feeds, culprit) in cases {
            let feeds: Vec<_> = feeds.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
            let fed: Vec<_> = feeds.iter().map(|(name, tensor)| (name.clone(), Feed::Tensor(tensor))).collect();
            let arranged = arrange(&inputs, &fed);
            let arranged = arranged.and_then(|fed| {
                check_symbols(inputs.iter().zip(fed.iter().map(|value| value.shape())))?;
                Ok(fed)
            });
            match (arranged, culprit) {
                (Ok(arranged), None) => assert_eq!(arranged[0].shape(), feeds[1].1.dims(), "{what}"),
                (Err(error), Some(culprit)) => {
                    assert_eq!(
                        (error.code, error.tensor.as_deref()),
                        (ErrorCode::InvalidInput, Some(culprit)),
                        "{what}"
                    );
                }
                (result, _) => panic!("{what}: {result:?}"),
            }
        }
    }
}
