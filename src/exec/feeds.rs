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

/// Feeds by name, in the order of the model's inputs.
///
/// # Errors
/// `InvalidInput` naming the tensor: unknown or missing, or fed twice.
pub fn in_order<'a>(inputs: &[TensorInfo], feeds: &'a [(String, Tensor)]) -> Result<Vec<Feed<'a>>> {
    let fed = |input: &TensorInfo| feeds.iter().find(|(name, _)| *name == *input.name);
    let ordered: Option<Vec<_>> =
        inputs.iter().map(|input| fed(input).map(|(_, tensor)| Feed::Tensor(tensor))).collect();
    ordered.filter(|_| feeds.len() == inputs.len()).ok_or_else(|| misfit(inputs, feeds))
}

/// The values of feeds in the order of the model's inputs.
///
/// # Errors
/// `InvalidInput` for another number of them, or naming the tensor, of another dtype, rank or fixed size.
pub fn values(inputs: &[TensorInfo], feeds: &[Feed]) -> Result<TVec<TValue>> {
    if feeds.len() != inputs.len() {
        return Err(Error::invalid_input(format!("{} tensors for {} inputs", feeds.len(), inputs.len()))
            .remedy("feed one for each"));
    }
    let value = |(input, feed): (&TensorInfo, &Feed)| {
        check(input, feed).map_err(|error| error.tensor(&*input.name))?;
        feed.value()
    };
    inputs.iter().zip(feeds).map(value).collect()
}

/// What is wrong with feeds that are not one for each input.
fn misfit(inputs: &[TensorInfo], feeds: &[(String, Tensor)]) -> Error {
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
            let fed = in_order(&inputs, &feeds).and_then(|fed| values(&inputs, &fed)).and_then(|fed| {
                check_symbols(inputs.iter().zip(fed.iter().map(|value| value.shape())))?;
                Ok(fed)
            });
            match (fed, culprit) {
                (Ok(fed), None) => assert_eq!(fed[0].shape(), feeds[1].1.dims(), "{what}"),
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
        let number = values(&inputs, &[Feed::Tensor(&ints(&[3, 2]))]).unwrap_err();
        assert_eq!((number.code, &*number.message), (ErrorCode::InvalidInput, "1 tensors for 2 inputs"));
    }
}
