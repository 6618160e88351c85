//! Embedding tables: rows looked up by id.

use super::block_weights::BlockWeights;
use super::linear::LinearWeights;
use super::packed::{Packed, Parts, misfit, take, take_all};
use super::simd::{F32x4, map_in_place, zip_in_place};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A table `[rows, width]` of embeddings. Quantised tables stay quantised in memory; a row is dequantised when it is
/// looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingTable {
    rows: usize,
    width: usize,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Float32(Elements),
    Int8 { values: Vec<i8>, quantisation: Quantisation },
    UInt8 { values: Vec<u8>, quantisation: Quantisation },
    Blocks(Arc<BlockWeights>),
}

/// Elements that somebody else may hold too.
#[derive(Clone)]
struct Elements(Arc<dyn AsRef<[f32]> + Send + Sync>);

impl Elements {
    fn as_slice(&self) -> &[f32] {
        (*self.0).as_ref()
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl fmt::Debug for Elements {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} elements", self.as_slice().len())
    }
}

/// Scales, and zero points as f32, one entry or one for each row.
#[derive(Debug, Clone, PartialEq)]
struct Quantisation {
    scales: Vec<f32>,
    zero_points: Vec<f32>,
}

impl EmbeddingTable {
    /// A table of float32, which is held as it is.
    ///
    /// # Panics
    /// When there are not `rows * width` values.
    pub fn from_f32(values: impl AsRef<[f32]> + Send + Sync + 'static, rows: usize, width: usize) -> EmbeddingTable {
        let values = Elements(Arc::new(values));
        assert_eq!(Some(values.as_slice().len()), rows.checked_mul(width), "values are [rows, width]");
        EmbeddingTable { rows, width, values: Values::Float32(values) }
    }

    /// A table of `(q - zero_point) * scale`, 8 bits signed. `scales` has one entry or one for each row; `zero_points`
    /// likewise, or none, which means 0.
    ///
    /// # Errors
    /// `InvalidModel` when a number of entries does not fit, or a scale is not finite.
    pub fn from_int8(
        values: Vec<i8>,
        rows: usize,
        width: usize,
        scales: Vec<f32>,
        zero_points: Vec<i8>,
    ) -> Result<EmbeddingTable> {
        check_count("values", values.len(), &[rows.saturating_mul(width)])?;
        let quantisation = Quantisation::new(rows, scales, zero_points)?;
        Ok(EmbeddingTable { rows, width, values: Values::Int8 { values, quantisation } })
    }

    /// A table of `(q - zero_point) * scale`, 8 bits unsigned. `scales` has one entry or one for each row;
    /// `zero_points` likewise, or none, which means 0.
    ///
    /// # Errors
    /// `InvalidModel` when a number of entries does not fit, or a scale is not finite.
    pub fn from_uint8(
        values: Vec<u8>,
        rows: usize,
        width: usize,
        scales: Vec<f32>,
        zero_points: Vec<u8>,
    ) -> Result<EmbeddingTable> {
        check_count("values", values.len(), &[rows.saturating_mul(width)])?;
        let quantisation = Quantisation::new(rows, scales, zero_points)?;
        Ok(EmbeddingTable { rows, width, values: Values::UInt8 { values, quantisation } })
    }

    /// A table whose rows are the outputs of a linear layer, with which it shares the weights, where these are kept in
    /// blocks of integers.
    pub fn from_linear(weights: &LinearWeights) -> Option<EmbeddingTable> {
        let blocks = weights.block_weights()?.clone();
        Some(EmbeddingTable { rows: weights.outputs(), width: weights.inputs(), values: Values::Blocks(blocks) })
    }

    /// Whether the table's memory is also that of a linear layer.
    pub fn shares(&self, weights: &LinearWeights) -> bool {
        matches!((&self.values, weights.block_weights()), (Values::Blocks(own), Some(other)) if Arc::ptr_eq(own, other))
    }

    /// Number of embeddings.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of an embedding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Memory that the table takes.
    pub fn bytes(&self) -> usize {
        match &self.values {
            Values::Float32(values) => size_of_val(values.as_slice()),
            Values::Int8 { values, quantisation } => values.len() + quantisation.bytes(),
            Values::UInt8 { values, quantisation } => values.len() + quantisation.bytes(),
            Values::Blocks(weights) => weights.bytes(),
        }
    }

    /// The row of an id, if there is one; else the id.
    fn row(&self, id: i64) -> Result<usize, i64> {
        let from_start = if id < 0 { id.checked_add(self.rows as i64) } else { Some(id) };
        from_start.and_then(|row| usize::try_from(row).ok()).filter(|row| *row < self.rows).ok_or(id)
    }

    /// Writes one embedding.
    fn copy_row(&self, row: usize, out: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.values {
            Values::Float32(values) => out.copy_from_slice(&values.as_slice()[range]),
            Values::Int8 { values, quantisation } => quantisation.dequantise(&values[range], row, out),
            Values::UInt8 { values, quantisation } => quantisation.dequantise(&values[range], row, out),
            Values::Blocks(weights) => weights.copy_output(row, out),
        }
    }
}

/// What is stored of an [`EmbeddingTable`] beside its elements.
#[derive(Serialize, Deserialize)]
pub struct EmbeddingForm {
    rows: usize,
    width: usize,
    values: ValuesForm,
}

#[derive(Serialize, Deserialize)]
enum ValuesForm {
    Float32,
    Int8,
    UInt8,
    Blocks,
}

impl Packed for EmbeddingTable {
    type Form = EmbeddingForm;

    fn form(&self) -> EmbeddingForm {
        let values = match self.values {
            Values::Float32(_) => ValuesForm::Float32,
            Values::Int8 { .. } => ValuesForm::Int8,
            Values::UInt8 { .. } => ValuesForm::UInt8,
            Values::Blocks(_) => ValuesForm::Blocks,
        };
        EmbeddingForm { rows: self.rows, width: self.width, values }
    }

    fn parts(&self) -> Vec<&[u8]> {
        match &self.values {
            Values::Float32(values) => vec![bytemuck::cast_slice(values.as_slice())],
            Values::Int8 { values, quantisation } => {
                [vec![bytemuck::cast_slice(values)], quantisation.parts()].concat()
            }
            Values::UInt8 { values, quantisation } => [vec![&values[..]], quantisation.parts()].concat(),
            Values::Blocks(_) => vec![],
        }
    }

    fn shared_blocks(&self) -> Option<&Arc<BlockWeights>> {
        match &self.values {
            Values::Blocks(weights) => Some(weights),
            _ => None,
        }
    }

    fn from_parts(
        form: EmbeddingForm,
        blocks: Option<Arc<BlockWeights>>,
        parts: &mut dyn Parts,
    ) -> Result<EmbeddingTable> {
        let EmbeddingForm { rows, width, values } = form;
        let count = rows.checked_mul(width);
        let values = match values {
            ValuesForm::Float32 => Values::Float32(Elements(Arc::new(take::<f32>(parts, count)?))),
            ValuesForm::Int8 => {
                Values::Int8 { values: take(parts, count)?, quantisation: Quantisation::from_parts(rows, parts)? }
            }
            ValuesForm::UInt8 => {
                Values::UInt8 { values: take(parts, count)?, quantisation: Quantisation::from_parts(rows, parts)? }
            }
            ValuesForm::Blocks => {
                let fits = |blocks: &Arc<BlockWeights>| (blocks.outputs(), blocks.inputs()) == (rows, width);
                Values::Blocks(blocks.filter(fits).ok_or_else(|| misfit("other blocks are expected".into()))?)
            }
        };
        Ok(EmbeddingTable { rows, width, values })
    }
}

impl Quantisation {
    fn parts(&self) -> Vec<&[u8]> {
        vec![bytemuck::cast_slice(&self.scales), bytemuck::cast_slice(&self.zero_points)]
    }

    fn from_parts(rows: usize, parts: &mut dyn Parts) -> Result<Quantisation> {
        let (scales, zero_points): (Vec<f32>, Vec<f32>) = (take_all(parts)?, take_all(parts)?);
        check_count("scales", scales.len(), &[1, rows])?;
        check_count("zero points", zero_points.len(), &[1, rows])?;
        Ok(Quantisation { scales, zero_points })
    }

    fn new<T: Into<f32>>(rows: usize, scales: Vec<f32>, zero_points: Vec<T>) -> Result<Quantisation> {
        check_count("scales", scales.len(), &[1, rows])?;
        check_count("zero points", zero_points.len(), &[0, 1, rows])?;
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(Error::invalid_model(format!("a quantisation scale is {scale}"))
                .remedy("quantise the model again from weights that are finite"));
        }
        let mut zero_points: Vec<f32> = zero_points.into_iter().map(Into::into).collect();
        if zero_points.is_empty() {
            zero_points.push(0.0);
        }
        Ok(Quantisation { scales, zero_points })
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.scales[..]) + size_of_val(&self.zero_points[..])
    }

    fn dequantise<T: Copy + Into<f32>>(&self, values: &[T], row: usize, out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = (*value).into();
        }
        let entry = |entries: &[f32]| F32x4::splat(if entries.len() == 1 { entries[0] } else { entries[row] });
        let (scale, zero_point) = (entry(&self.scales), entry(&self.zero_points));
        map_in_place(out, |value| (value - zero_point) * scale);
    }
}

fn check_count(what: &str, count: usize, allowed: &[usize]) -> Result<()> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let allowed: Vec<String> = allowed.iter().map(usize::to_string).collect();
    Err(Error::invalid_model(format!(
        "{count} {what} of an embedding table where {} are expected",
        allowed.join(" or ")
    ))
    .remedy("export or quantise the model again"))
}

/// Writes the embedding of each id, one after the other. A negative id counts from the end of the table (ONNX `Gather`).
///
/// # Errors
/// The first id outside `-rows..rows`; `out` is then partly written.
///
/// # Panics
/// When `out` is not `[ids, width]`.
pub fn gather(table: &EmbeddingTable, ids: &[i64], out: &mut [f32]) -> Result<(), i64> {
    assert_eq!(Some(out.len()), ids.len().checked_mul(table.width), "out is [ids, width]");
    for (position, id) in ids.iter().enumerate() {
        table.copy_row(table.row(*id)?, &mut out[position * table.width..][..table.width]);
    }
    Ok(())
}

/// Writes the sums of embeddings, as [`gather`] gives them, and other rows: `out` and `added` are `[times, ids, width]`.
///
/// # Errors
/// As [`gather`].
///
/// # Panics
/// When `added` is not as long as `out`, or these are no whole number of times `[ids, width]`.
pub fn gather_and_add(table: &EmbeddingTable, ids: &[i64], added: &[f32], out: &mut [f32]) -> Result<(), i64> {
    assert_eq!(added.len(), out.len(), "added is as long as out");
    let len = ids.len() * table.width;
    if len == 0 {
        return gather(table, ids, out);
    }
    assert!(out.len().is_multiple_of(len), "out is [times, ids, width]");
    let rows = out.chunks_exact_mut(table.width).zip(added.chunks_exact(table.width));
    for (id, (out, added)) in ids.iter().cycle().zip(rows) {
        table.copy_row(table.row(*id)?, out);
        zip_in_place(out, added, |embedding, added| embedding + added);
    }
    Ok(())
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::linear::{NBits, NBitsZeroPoints};
    use crate::kernels::self_test::{difference, numbers};

    struct Case {
        what: &'static str,
        table: EmbeddingTable,
        ids: &'static [i64],
        /// By arithmetic.
        expected: Result<Vec<f32>, i64>,
    }

    impl Case {
        /// Rows by themselves, and two times the rows with others added.
        fn failures(&self) -> Vec<String> {
            let mut out = vec![f32::NAN; self.ids.len() * self.table.width()];
            let result = gather(&self.table, self.ids, &mut out);
            let added = numbers(2 * out.len(), 2);
            let mut sums = vec![f32::NAN; added.len()];
            let result_of_sums = gather_and_add(&self.table, self.ids, &added, &mut sums);
            let with_added = |rows: &Vec<f32>| added.iter().zip(rows.iter().cycle()).map(|(x, y)| x + y).collect();
            let expected = self.expected.as_ref().map(with_added).map_err(|id| *id);
            let of_sums = format!("{}, added to others", self.what);
            let rows = failure(self.what, result.map(|()| out), &self.expected);
            rows.into_iter().chain(failure(&of_sums, result_of_sums.map(|()| sums), &expected)).collect()
        }
    }

    fn failure(what: &str, got: Result<Vec<f32>, i64>, expected: &Result<Vec<f32>, i64>) -> Option<String> {
        match (&got, expected) {
            (Ok(got), Ok(expected)) => difference(what, got, expected, 0.0),
            _ => (got != *expected).then(|| format!("{what}: {got:?} where {expected:?} is expected")),
        }
    }

    /// Looks ids up in tables of every format.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        cases().iter().flat_map(Case::failures).collect()
    }

    fn cases() -> Vec<Case> {
        let float32 = || EmbeddingTable::from_f32(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2);
        let wide = numbers(3 * 37, 1);
        let int8 = |scales: &[f32], zero_points: &[i8]| {
            EmbeddingTable::from_int8(vec![-128, 127, 1, -2], 2, 2, scales.to_vec(), zero_points.to_vec())
                .expect("int8")
        };
        let uint8 = |scales: &[f32], zero_points: &[u8]| {
            EmbeddingTable::from_uint8(vec![0, 255, 1, 2], 2, 2, scales.to_vec(), zero_points.to_vec()).expect("uint8")
        };
        // Integers 0, 1, 2 … of row 0, then of row 1; (q - zero point) · scale.
        let blocks = |bits: usize, zero_points: NBitsZeroPoints<'_>| {
            let b: Vec<u8> = match bits {
                4 => (0..64).map(|at| (2 * at % 16) | (2 * at % 16 + 1) << 4).collect(),
                _ => (0..128).collect(),
            };
            let (inputs, outputs, block_size, groups) = (37, 2, 32, None);
            let scales = &[1.0, 2.0, 0.5, 4.0];
            let weights = NBits { bits, inputs, outputs, block_size, b: &b, scales, zero_points, groups };
            EmbeddingTable::from_linear(&LinearWeights::from_nbits(weights).expect("weights")).expect("in blocks")
        };
        let row = |row: usize, value: fn(usize) -> f32, zero_points: [f32; 2]| {
            let scales = [[1.0, 2.0], [0.5, 4.0]][row];
            (0..37).map(|k| (value(64 * row + k) - zero_points[k / 32]) * scales[k / 32]).collect::<Vec<f32>>()
        };
        let case = |what, table, ids, expected| Case { what, table, ids, expected };
        vec![
            case("in order and again", float32(), &[0, 2, 2], Ok(vec![1.0, 2.0, 5.0, 6.0, 5.0, 6.0])),
            case("from the end", float32(), &[-1, -3], Ok(vec![5.0, 6.0, 1.0, 2.0])),
            case("no ids", float32(), &[], Ok(vec![])),
            case("wide", EmbeddingTable::from_f32(wide.clone(), 3, 37), &[1], Ok(wide[37..74].to_vec())),
            case("first after the end", float32(), &[0, 3, 4], Err(3)),
            case("first before the start", float32(), &[-4, 9], Err(-4)),
            case("lowest", float32(), &[i64::MIN], Err(i64::MIN)),
            case("highest", float32(), &[i64::MAX], Err(i64::MAX)),
            case("an empty table", EmbeddingTable::from_f32(Vec::<f32>::new(), 0, 2), &[0], Err(0)),
            case("int8, one scale", int8(&[0.5], &[]), &[0, 1], Ok(vec![-64.0, 63.5, 0.5, -1.0])),
            case("int8, rows", int8(&[0.5, 2.0], &[-128, 1]), &[0, 1], Ok(vec![0.0, 127.5, 0.0, -6.0])),
            case("int8, one zero point", int8(&[1.0, 2.0], &[1]), &[1, 0], Ok(vec![0.0, -6.0, -129.0, 126.0])),
            case("4 bits", blocks(4, NBitsZeroPoints::None), &[1], Ok(row(1, |at| (at % 16) as f32, [8.0; 2]))),
            case(
                "4 bits, zero points",
                blocks(4, NBitsZeroPoints::Packed(&[0x31, 0xf0])),
                &[0, -1],
                Ok([row(0, |at| (at % 16) as f32, [1.0, 3.0]), row(1, |at| (at % 16) as f32, [0.0, 15.0])].concat()),
            ),
            case(
                "8 bits, fractions as zero points",
                blocks(8, NBitsZeroPoints::Floats(&[0.5, 1.5, 2.5, 3.5])),
                &[1],
                Ok(row(1, |at| at as f32, [2.5, 3.5])),
            ),
            case("uint8, one scale", uint8(&[0.5], &[]), &[0, 1], Ok(vec![0.0, 127.5, 0.5, 1.0])),
            case("uint8, rows", uint8(&[0.5, 2.0], &[255, 1]), &[-2, -1], Ok(vec![-127.5, 0.0, 0.0, 2.0])),
        ]
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        use crate::error::ErrorCode;
        // Numbers of values, scales and zero points for 3 rows of 2, and the first scale.
        let cases = [
            ([6, 1, 0], 1.0, true),
            ([6, 3, 3], 1.0, true),
            ([6, 1, 1], 1.0, true),
            ([5, 1, 0], 1.0, false),
            ([6, 0, 0], 1.0, false),
            ([6, 2, 0], 1.0, false),
            ([6, 1, 2], 1.0, false),
            ([6, 1, 0], f32::NAN, false),
        ];
        for ([values, scales, zero_points], scale, fits) in cases {
            let scales = vec![scale; scales];
            let code = (!fits).then_some(ErrorCode::InvalidModel);
            let int8 = EmbeddingTable::from_int8(vec![0; values], 3, 2, scales.clone(), vec![0; zero_points]);
            assert_eq!(int8.map_err(|error| error.code).err(), code);
            let uint8 = EmbeddingTable::from_uint8(vec![0; values], 3, 2, scales, vec![0; zero_points]);
            assert_eq!(uint8.map_err(|error| error.code).err(), code);
        }
    }

    #[test]
    fn tables_take_the_memory_of_their_format() {
        let tables = [
            (EmbeddingTable::from_f32(vec![0.0f32; 6], 3, 2), 24),
            (EmbeddingTable::from_int8(vec![0; 6], 3, 2, vec![1.0; 3], vec![0; 3]).unwrap(), 6 + 12 + 12),
            (EmbeddingTable::from_uint8(vec![0; 6], 3, 2, vec![1.0], vec![0]).unwrap(), 6 + 4 + 4),
        ];
        for (table, bytes) in tables {
            assert_eq!((table.rows(), table.width(), table.bytes()), (3, 2, bytes));
        }
    }
}
