//! `EinSum`: ONNX `Einsum` (12): sums of products of elements whose axes have the same letters.
//!
//! Inputs: one or more, all f32 or all f64, each with a letter for each axis; an axis of size 1 is repeated where the letter has
//! another size elsewhere. Output, of their type: with the letters of the result, summed over all others.
//!
//! Two operands of f32 are multiplied as matrices; all else is summed element by element, in f64.

use super::conv::float_type;
use super::plain::{Plain, elements, tensor_of};
use crate::kernels::activation::Activation;
use crate::kernels::linear::{LinearWeights, linear};
use std::borrow::Cow;
use std::fmt;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EinSum {
    /// Letters of each operand's axes.
    pub operands: Vec<String>,
    /// Letters of the result's axes, each once.
    pub result: String,
}

impl fmt::Display for EinSum {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}->{}", self.operands.join(","), self.result)
    }
}

/// The axes that have a letter.
pub fn positions(letters: &str, letter: char) -> TVec<usize> {
    letters.chars().enumerate().filter(|(_, other)| *other == letter).map(|(position, _)| position).collect()
}

impl EinSum {
    /// All letters: those of the result, then those that are summed over.
    pub fn letters(&self) -> Vec<char> {
        let mut letters: Vec<char> = Vec::new();
        for letter in self.result.chars().chain(self.operands.iter().flat_map(|operand| operand.chars())) {
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        letters
    }

    /// The size of each letter, for operands of these shapes.
    fn sizes<D: DimLike>(&self, letters: &[char], shapes: &[&[D]]) -> TractResult<Vec<D>> {
        let ranks = self.operands.iter().zip(shapes).all(|(operand, shape)| operand.chars().count() == shape.len());
        ensure!(ranks && self.operands.len() == shapes.len(), "{self} of shapes {shapes:?}");
        letters.iter().map(|letter| self.size(*letter, shapes)).collect()
    }

    fn size<D: DimLike>(&self, letter: char, shapes: &[&[D]]) -> TractResult<D> {
        let of_operand = |(operand, shape): (&String, &&[D])| {
            positions(operand, letter).iter().map(|position| shape[*position].clone()).collect::<TVec<D>>()
        };
        let sizes: TVec<D> = self.operands.iter().zip(shapes).flat_map(of_operand).collect();
        let others = sizes.iter().filter(|size| **size != D::one());
        let known = others.clone().find(|size| size.to_usize().is_ok()).or(others.clone().next());
        let size = known.or(sizes.first()).with_context(|| format!("nothing tells the size of {letter} in {self}"))?;
        ensure!(others.clone().all(|other| other.compatible_with(size)), "sizes {sizes:?} of {letter} in {self}");
        Ok(size.clone())
    }
}

/// A tensor with a letter for each axis.
struct Operand<'a, T: Clone> {
    letters: Cow<'a, [char]>,
    shape: Cow<'a, [usize]>,
    values: Cow<'a, [T]>,
}

impl<'a, T: Datum + Copy + Into<f64>> Operand<'a, T> {
    /// Elements from one to the next of each of these letters; 0 where there is no such letter, or only one element.
    fn strides(&self, letters: &[char]) -> Vec<usize> {
        let mut strides = vec![0; letters.len()];
        let mut stride = 1;
        for (own, size) in self.letters.iter().zip(&*self.shape).rev() {
            if let Some(at) = letters.iter().position(|letter| letter == own).filter(|_| *size != 1) {
                strides[at] += stride;
            }
            stride *= size;
        }
        strides
    }

    /// How many elements that letter has; 1 where there is none.
    fn size(&self, letter: char) -> usize {
        let mut sizes = self.letters.iter().zip(&*self.shape).filter(|(own, _)| **own == letter).map(|(_, size)| *size);
        sizes.find(|size| *size != 1).unwrap_or(1)
    }

    /// With these letters, in this order; summed over those that are left out.
    fn with_letters(self, letters: Vec<char>, narrow: fn(f64) -> T) -> Operand<'a, T> {
        if *self.letters == *letters {
            return self;
        }
        let mut all = letters.clone();
        for letter in &*self.letters {
            if !all.contains(letter) {
                all.push(*letter);
            }
        }
        let sizes: Vec<usize> = all.iter().map(|letter| self.size(*letter)).collect();
        let kept = letters.len();
        let sums = sums(&[&self.values], &[self.strides(&all)], &sizes, kept, narrow);
        Operand { letters: letters.into(), shape: sizes[..kept].to_vec().into(), values: sums.into() }
    }
}

/// Goes through all elements of some axes, row-major, with a place for each operand.
struct Steps<'a> {
    sizes: &'a [usize],
    /// For each operand, elements from one to the next of each axis.
    strides: Vec<&'a [usize]>,
    at: Vec<usize>,
}

impl<'a> Steps<'a> {
    fn over(sizes: &'a [usize], strides: Vec<&'a [usize]>) -> Steps<'a> {
        Steps { sizes, strides, at: vec![0; sizes.len()] }
    }

    /// From one element to the next; from the last one to the first.
    fn advance(&mut self, places: &mut [usize]) {
        for axis in (0..self.sizes.len()).rev() {
            let places = places.iter_mut().zip(&self.strides);
            self.at[axis] += 1;
            if self.at[axis] < self.sizes[axis] {
                return places.for_each(|(place, strides)| *place += strides[axis]);
            }
            self.at[axis] = 0;
            places.for_each(|(place, strides)| *place -= strides[axis] * (self.sizes[axis] - 1));
        }
    }
}

/// Sums of products over all axes but the first `kept`; `strides` are those of each operand.
fn sums<T: Copy + Into<f64>>(
    operands: &[&[T]],
    strides: &[Vec<usize>],
    sizes: &[usize],
    kept: usize,
    narrow: fn(f64) -> T,
) -> Vec<T> {
    let part = |from: usize, to: usize| strides.iter().map(|strides| &strides[from..to]).collect();
    let mut outer = Steps::over(&sizes[..kept], part(0, kept));
    let mut inner = Steps::over(&sizes[kept..], part(kept, sizes.len()));
    let [count, terms] = [outer.sizes, inner.sizes].map(|sizes| sizes.iter().product::<usize>());
    let mut places = vec![0; operands.len()];
    let mut result = Vec::with_capacity(count);
    for _ in 0..count {
        let mut sum = 0.0;
        for _ in 0..terms {
            sum += operands.iter().zip(&places).map(|(operand, place)| operand[*place].into()).product::<f64>();
            inner.advance(&mut places);
        }
        result.push(narrow(sum));
        outer.advance(&mut places);
    }
    result
}

/// The letters of two operands, and what becomes of them.
struct Contraction {
    /// In both operands and in the result.
    batch: Vec<char>,
    /// In the left operand and in the result.
    rows: Vec<char>,
    /// In the right operand and in the result.
    columns: Vec<char>,
    /// In both operands, and summed over.
    inner: Vec<char>,
}

impl Contraction {
    fn of(left: &str, right: &str, result: &str, letters: &[char]) -> Contraction {
        let with = |in_left: bool, in_right: bool, in_result: bool| {
            let fits = |letter: &char| {
                [left, right, result].map(|letters| letters.contains(*letter)) == [in_left, in_right, in_result]
            };
            letters.iter().copied().filter(fits).collect()
        };
        Contraction {
            batch: with(true, true, true),
            rows: with(true, false, true),
            columns: with(false, true, true),
            inner: with(true, true, false),
        }
    }

    /// The product as matrices, `None` where it is none: where a letter over which is summed is repeated in one operand only, or
    /// where each product has but one element.
    fn product(self, left: Operand<f32>, right: Operand<f32>) -> Option<Operand<'static, f32>> {
        let Contraction { batch, rows, columns, inner } = self;
        let volume =
            |operand: &Operand<f32>, letters: &[char]| letters.iter().map(|letter| operand.size(*letter)).product();
        let (m, n): (usize, usize) = (volume(&left, &rows), volume(&right, &columns));
        if inner.iter().any(|letter| left.size(*letter) != right.size(*letter)) || m * n == 1 {
            return None;
        }
        let k: usize = volume(&left, &inner);
        let narrow = |sum: f64| sum as f32;
        let transposed = right.letters.last().is_some_and(|last| inner.contains(last));
        let left = left.with_letters([&*batch, &*rows, &*inner].concat(), narrow);
        let right_letters = if transposed { [&*batch, &*columns, &*inner] } else { [&*batch, &*inner, &*columns] };
        let right = right.with_letters(right_letters.concat(), narrow);
        let sizes: Vec<usize> = batch
            .iter()
            .map(|letter| if left.size(*letter) == 1 { right.size(*letter) } else { left.size(*letter) })
            .collect();
        let strides = [left.strides(&batch), right.strides(&batch)];
        let mut values = vec![0.0; sizes.iter().product::<usize>() * m * n];
        if !values.is_empty() {
            let mut steps = Steps::over(&sizes, strides.iter().map(|strides| &**strides).collect());
            let mut places = [0, 0];
            let mut packed: Option<(usize, LinearWeights)> = None;
            for out in values.chunks_exact_mut(m * n) {
                let [at_left, at_right] = places;
                if packed.as_ref().is_none_or(|(place, _)| *place != at_right) {
                    let (input_stride, output_stride) = if transposed { (1, k) } else { (n, 1) };
                    let matrix = &right.values[at_right..][..k * n];
                    packed = Some((at_right, LinearWeights::from_f32(matrix, k, n, input_stride, output_stride)));
                }
                if let Some((_, weights)) = &packed {
                    linear(&left.values[at_left..][..m * k], m, weights, None, Activation::Identity, None, out);
                }
                steps.advance(&mut places);
            }
        }
        let of =
            |operand: &Operand<f32>, letters: &[char]| letters.iter().map(|letter| operand.size(*letter)).collect();
        let shape: [Vec<usize>; 3] = [sizes, of(&left, &rows), of(&right, &columns)];
        let letters = [batch, rows, columns].concat();
        Some(Operand { letters: letters.into(), shape: shape.concat().into(), values: values.into() })
    }
}

impl EinSum {
    fn operand<'a, T: Datum + Copy>(&'a self, position: usize, tensor: &'a Tensor) -> TractResult<Operand<'a, T>> {
        let letters: Vec<char> = self.operands[position].chars().collect();
        Ok(Operand { letters: letters.into(), shape: tensor.shape().into(), values: elements::<T>(tensor)?.into() })
    }

    fn element_by_element<T: Datum + Copy + Into<f64>>(
        &self,
        inputs: &[TValue],
        letters: &[char],
        sizes: &[usize],
        narrow: fn(f64) -> T,
    ) -> TractResult<Tensor> {
        let operands = inputs.iter().enumerate().map(|(position, input)| self.operand::<T>(position, input));
        let operands = operands.collect::<TractResult<Vec<_>>>()?;
        let strides: Vec<Vec<usize>> = operands.iter().map(|operand| operand.strides(letters)).collect();
        let values: Vec<&[T]> = operands.iter().map(|operand| &*operand.values).collect();
        let kept = self.result.chars().count();
        tensor_of(&sizes[..kept], &sums(&values, &strides, sizes, kept, narrow))
    }
}

impl Plain for EinSum {
    const NAME: &'static str = "EinSum";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let repeated = self.result.chars().any(|letter| positions(&self.result, letter).len() > 1);
        ensure!(!repeated, "a letter of the result occurs in it twice: {self}");
        ensure!(!inputs.is_empty(), "a sum of nothing");
        let shapes: Vec<&[TDim]> = inputs.iter().map(|input| input.shape.dims()).collect();
        let kept: Vec<char> = self.result.chars().collect();
        self.sizes(&self.letters(), &shapes)?;
        Ok(tvec!(float_type(inputs)?.fact(self.sizes(&kept, &shapes)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let letters = self.letters();
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let sizes = self.sizes(&letters, &shapes)?;
        if inputs[0].datum_type() == f64::datum_type() {
            return Ok(tvec!(self.element_by_element::<f64>(inputs, &letters, &sizes, |sum| sum)?));
        }
        if let ([left, right], [left_letters, right_letters]) = (inputs, &*self.operands) {
            let contraction = Contraction::of(left_letters, right_letters, &self.result, &letters);
            if let Some(product) = contraction.product(self.operand(0, left)?, self.operand(1, right)?) {
                let result = product.with_letters(self.result.chars().collect(), |sum| sum as f32);
                return Ok(tvec!(tensor_of(&result.shape, &result.values)?));
            }
        }
        Ok(tvec!(self.element_by_element::<f32>(inputs, &letters, &sizes, |sum| sum as f32)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_close;
    use super::*;

    fn operator(equation: &str) -> EinSum {
        let (operands, result) = equation.split_once("->").unwrap();
        EinSum { operands: operands.split(',').map(String::from).collect(), result: result.into() }
    }

    #[test]
    fn sums_of_products() {
        struct Case {
            equation: &'static str,
            shapes: &'static [&'static [usize]],
            expected: Option<(&'static [usize], &'static [f32])>,
        }
        let case = |equation, shapes, expected| Case { equation, shapes, expected };
        // Of 1, 2, 3, … each; answers of ONNX Runtime 1.32.
        let cases = [
            case("ij,jk->ik", &[&[2, 3], &[3, 2]], Some((&[2, 2], &[22., 28., 49., 64.]))),
            case("ij,kj->ki", &[&[2, 3], &[2, 3]], Some((&[2, 2], &[14., 32., 32., 77.]))),
            case("ii->i", &[&[3, 3]], Some((&[3], &[1., 5., 9.]))),
            case("ii->", &[&[3, 3]], Some((&[], &[15.]))),
            case("ij->ji", &[&[2, 3]], Some((&[3, 2], &[1., 4., 2., 5., 3., 6.]))),
            case("i,j,ij->", &[&[2], &[3], &[2, 3]], Some((&[], &[78.]))),
            case("bij,bj->bi", &[&[1, 2, 3], &[2, 3]], Some((&[2, 2], &[14., 32., 32., 77.]))),
            case("ij,ij->", &[&[2, 3], &[2, 3]], Some((&[], &[91.]))),
            case("ij,k->ik", &[&[2, 3], &[2]], Some((&[2, 2], &[6., 12., 15., 30.]))),
            case(",ij->ji", &[&[], &[2, 3]], Some((&[3, 2], &[1., 4., 2., 5., 3., 6.]))),
            case("ij,jk->ik", &[&[2, 1], &[3, 2]], Some((&[2, 2], &[9., 12., 18., 24.]))),
            case("Ab,bA->A", &[&[2, 3], &[3, 2]], Some((&[2], &[22., 64.]))),
            case("ai,ai->ai", &[&[2, 3], &[2, 3]], Some((&[2, 3], &[1., 4., 9., 16., 25., 36.]))),
            case("ij,ij->ij", &[&[0, 3], &[0, 3]], Some((&[0, 3], &[]))),
            case("ij,jk->ik", &[&[2, 0], &[0, 3]], Some((&[2, 3], &[0.; 6]))),
            case("i,j->ij", &[&[2], &[2]], Some((&[2, 2], &[1., 2., 2., 4.]))),
            case("iij,ij->ji", &[&[2, 2, 1], &[2, 1]], Some((&[1, 2], &[1., 8.]))),
            case("ij,jk->ik", &[&[2, 3], &[2, 2]], None),
            case("ij,jk->ik", &[&[2, 3], &[3]], None),
            case("ij,jk->ik", &[&[2, 3]], None),
        ];
        for Case { equation, shapes, expected } in cases {
            let numbers = |shape: &&[usize]| {
                let values: Vec<f32> = (1..=shape.iter().product()).map(|value| value as f32).collect();
                Tensor::from_shape(shape, &values).unwrap()
            };
            let inputs: Vec<Tensor> = shapes.iter().map(numbers).collect();
            for datum_type in [f32::datum_type(), f64::datum_type()] {
                let typed = |input: &Tensor| input.cast_to_dt(datum_type).unwrap().into_owned().into_tvalue();
                let inputs: Vec<TValue> = inputs.iter().map(typed).collect();
                match (operator(equation).compute(&inputs), expected) {
                    (Ok(outputs), Some((shape, values))) => {
                        assert_eq!(outputs[0].datum_type(), datum_type, "{equation}");
                        assert_close(equation, &outputs[0].cast_to::<f32>().unwrap(), shape, values);
                    }
                    (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{equation} of {shapes:?}"),
                }
            }
        }
    }

    /// Matrices, against sums element by element.
    #[test]
    fn products_of_matrices() {
        let cases: [(&str, &[usize], &[usize]); 7] = [
            ("bthd,bshd->bhts", &[2, 5, 3, 4], &[2, 7, 3, 4]),
            ("bhts,bshd->bthd", &[2, 3, 5, 7], &[2, 7, 3, 4]),
            ("bhts,bshd->bthd", &[2, 3, 5, 7], &[1, 7, 3, 4]),
            ("abc,cbd->da", &[3, 4, 5], &[5, 4, 9]),
            ("aab,bc->ca", &[3, 3, 5], &[5, 4]),
            ("abx,ybc->ac", &[3, 4, 2], &[3, 4, 5]),
            ("ab,c->cab", &[3, 4], &[5]),
        ];
        for (equation, left, right) in cases {
            let numbers = |shape: &[usize], factor: usize| {
                let count: usize = shape.iter().product();
                let values: Vec<f32> = (0..count).map(|at| (at * factor % 23) as f32 / 8.0 - 1.0).collect();
                Tensor::from_shape(shape, &values).unwrap().into_tvalue()
            };
            let inputs = [numbers(left, 7), numbers(right, 11)];
            let wide = inputs.clone().map(|input| input.cast_to::<f64>().unwrap().into_owned().into_tvalue());
            let operator = operator(equation);
            let expected = operator.compute(&wide).unwrap()[0].cast_to::<f32>().unwrap().into_owned();
            let values = expected.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
            let product = operator.compute(&inputs).unwrap();
            assert_close(equation, &product[0], expected.shape(), values);
        }
    }

    #[test]
    fn facts() {
        let symbols = SymbolScope::default();
        let [n, m] = ["n", "m"].map(|name| symbols.sym(name).to_dim());
        let [one, three] = [1, 3].map(|size: usize| size.to_dim());
        let cases = [
            ("ij,jk->ki", [&n, &three], [&m, &one], Some([one.clone(), n.clone()])),
            ("ij,ij->ij", [&n, &three], [&one, &m], Some([n.clone(), three.clone()])),
            ("ij,jk->ii", [&n, &three], [&m, &one], None),
            ("ij,jk->il", [&n, &three], [&m, &one], None),
            ("ij,jk->ik", [&n, &three], [&4.to_dim(), &one], None),
        ];
        for (equation, left, right, expected) in cases {
            let fact = |sizes: [&TDim; 2]| f32::fact(sizes.map(TDim::clone));
            let facts = operator(equation).facts(&[&fact(left), &fact(right)]).ok();
            let shape = facts.map(|facts| facts[0].shape.to_tvec());
            assert_eq!(shape.as_deref(), expected.as_ref().map(|expected| &expected[..]), "{equation}");
        }
        assert!(operator("i->i").facts(&[&i32::fact([3])]).is_err());
    }
}
