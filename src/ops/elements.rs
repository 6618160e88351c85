//! Moving the elements of tensors of any type: which element of the source stands at each place of the result.

use tract_core::internal::*;

/// Places in the source, row-major; `None` is the fill value.
pub type Places = Vec<Option<usize>>;

/// For each element of a result whose axes are mapped independently, its place in a row-major source of that shape.
pub fn places(shape: &[usize], axes: &[Places]) -> Places {
    let mut places = vec![Some(0)];
    for (size, axis) in shape.iter().zip(axes) {
        places = places.iter().flat_map(|outer| axis.iter().map(|inner| Some((*outer)? * size + (*inner)?))).collect();
    }
    places
}

/// A tensor made of the elements of `source` at those places, and of `fill`, a tensor of one element, elsewhere.
pub fn pick(source: &Tensor, fill: &Tensor, shape: &[usize], places: &[Option<usize>]) -> TractResult<Tensor> {
    fn typed<T: Datum + Copy>(
        source: &Tensor,
        fill: &Tensor,
        shape: &[usize],
        places: &[Option<usize>],
    ) -> TractResult<Tensor> {
        let source = source.try_as_plain_ram()?.as_slice::<T>()?;
        let fill = fill.try_as_plain_ram()?.as_slice::<T>()?[0];
        let at = |place: &Option<usize>| place.map_or(fill, |place| source[place]);
        let elements: Vec<T> = places.iter().map(at).collect();
        Tensor::from_shape(shape, &elements)
    }
    ensure!(source.datum_type() == fill.datum_type() && fill.len() == 1, "{fill:?} is no element of {source:?}");
    dispatch_copy!(typed(source.datum_type())(source, fill, shape, places))
}

/// A tensor with the elements of `source` at those places.
pub fn rearrange(source: &Tensor, shape: &[usize], places: &[usize]) -> TractResult<Tensor> {
    fn typed<T: Datum + Copy>(source: &Tensor, shape: &[usize], places: &[usize]) -> TractResult<Tensor> {
        let source = source.try_as_plain_ram()?.as_slice::<T>()?;
        let elements: Vec<T> = places.iter().map(|place| source[*place]).collect();
        Tensor::from_shape(shape, &elements)
    }
    dispatch_copy!(typed(source.datum_type())(source, shape, places))
}

/// An index along an axis of that size, which counts from the end where it is negative.
pub fn index(value: i64, size: usize) -> TractResult<usize> {
    let from_start = if value < 0 { value + size as i64 } else { value };
    ensure!((0..size as i64).contains(&from_start), "index {value} of an axis of size {size}");
    Ok(from_start as usize)
}

/// The elements of an integer tensor.
pub fn integers(tensor: &Tensor) -> TractResult<Vec<i64>> {
    Ok(tensor.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
}
