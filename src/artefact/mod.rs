//! Compiled models as bytes: the plans that are left after translating, fusing and simplifying, with the weights packed as
//! kernels read them, so that a model that was loaded once is loaded again without any of that.
//!
//! An artefact is a header of 64 bytes, the description, and the parts: the bytes of weights, each at a multiple of 64,
//! in the order in which the description names them, each once however many nodes share it. An artefact is of use to the
//! build that wrote it and to no other. Whatever is wrong with one is a typed error, and nothing is
//! allocated beyond its size.

mod expression;
mod header;
mod operators;
mod reader;
mod stock;
mod tensor;
mod writer;

use crate::error::{Error, Result};
use crate::graph::{CompiledGraph, CompiledModel, Report};
use crate::onnx::{ReadAt, TensorInfo};
use header::Header;
use reader::Reader;
use serde::{Deserialize, Serialize};
use tract_core::prelude::TypedModel;
use writer::Writer;

/// A compiled model that is to be saved.
pub struct Model<'a> {
    /// Its graphs.
    pub graphs: Vec<Graph<'a>>,
    /// Its inputs.
    pub inputs: &'a [TensorInfo],
    /// Its outputs.
    pub outputs: &'a [TensorInfo],
    /// What became of its nodes.
    pub report: &'a Report,
}

/// As [`CompiledGraph`].
pub struct Graph<'a> {
    /// Values of boolean inputs, by position, for which the graph was compiled.
    pub when: &'a [(usize, bool)],
    /// Positions of the inputs that the graph reads.
    pub reads: &'a [usize],
    /// The graph.
    pub graph: &'a TypedModel,
}

/// What [`read`] gives.
pub struct SavedModel {
    /// The model.
    pub model: CompiledModel,
    /// What tells the model from others, where that was known.
    pub digest: Option<String>,
}

/// An artefact, ready to be written: its weights are still those of the model.
pub struct Artefact<'a> {
    /// Header and description.
    head: Vec<u8>,
    parts: Vec<&'a [u8]>,
}

/// What can be told of a model without its graphs.
#[derive(Deserialize)]
struct Preface {
    digest: Option<String>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    report: Report,
}

/// [`Preface`], to be written.
#[derive(Serialize)]
struct PrefaceOf<'a> {
    digest: Option<&'a str>,
    inputs: &'a [TensorInfo],
    outputs: &'a [TensorInfo],
    report: &'a Report,
}

impl<'a> Artefact<'a> {
    /// Describes a model; `digest` tells it from others.
    ///
    /// # Errors
    /// `UnsupportedOp` for an operator that has no stored form.
    pub fn of(model: &Model<'a>, digest: Option<&str>) -> Result<Artefact<'a>> {
        let Model { graphs, inputs, outputs, report } = model;
        let mut writer = Writer::default();
        writer.json(&PrefaceOf { digest, inputs, outputs, report })?;
        writer.value(&graphs.len())?;
        for Graph { when, reads, graph } in graphs {
            writer.value(when)?;
            writer.value(reads)?;
            writer.graph(graph)?;
        }
        let (description, parts) = writer.finish();
        let head = Header::of(&description, &parts).to_bytes();
        Ok(Artefact { head: [head.to_vec(), description].concat(), parts })
    }

    /// How many bytes the artefact has.
    pub fn size(&self) -> u64 {
        header::length(self.head.len(), self.parts.iter().map(|part| part.len()))
    }

    /// Hands all bytes over, piece by piece, in order.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn write(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        take(&self.head)?;
        let mut written = self.head.len() as u64;
        for part in &self.parts {
            let start = header::aligned(written).unwrap_or(written);
            take(&[0; header::ALIGNMENT as usize][..(start - written) as usize])?;
            take(part)?;
            written = start + part.len() as u64;
        }
        Ok(())
    }
}

/// Whether a file begins as artefacts do.
///
/// # Errors
/// Those of the file.
pub fn is_artefact(source: &dyn ReadAt) -> Result<bool> {
    let mut start = [0; header::MAGIC.len()];
    if source.len() < start.len() as u64 {
        return Ok(false);
    }
    source.read_at(0, &mut start)?;
    Ok(start == header::MAGIC)
}

/// Checks that a file is an artefact of this build and, where a digest is given, of that model.
///
/// # Errors
/// `InvalidModel` for another build, or no artefact at all; `IntegrityError` for another model, or a damaged artefact.
pub fn check(source: &dyn ReadAt, digest: Option<&str>) -> Result<()> {
    let description = Header::read(source)?.description(source)?;
    let own = Reader::new(source, &description).json::<Preface>()?.digest;
    if digest.is_none() || own.as_deref() == digest {
        return Ok(());
    }
    Err(Error::integrity(format!(
        "the artefact is of another model, {}",
        own.as_deref().unwrap_or("which is not known")
    )))
}

/// Takes up what was saved.
///
/// # Errors
/// `InvalidModel` for an artefact of another build, or one that is not well formed; `IntegrityError` for a damaged one.
pub fn read(source: &dyn ReadAt) -> Result<SavedModel> {
    let description = Header::read(source)?.description(source)?;
    let mut reader = Reader::new(source, &description);
    let Preface { digest, inputs, outputs, report } = reader.json()?;
    let mut graphs = Vec::new();
    for _ in 0..reader.value::<usize>()? {
        let (when, reads): (Vec<(usize, bool)>, Vec<usize>) = (reader.value()?, reader.value()?);
        let graph = reader.graph()?;
        let positions = when.iter().map(|(position, _)| position).chain(&reads);
        let fits = positions.into_iter().all(|position| *position < inputs.len())
            && graph.inputs.len() == reads.len()
            && graph.outputs.len() == outputs.len();
        if !fits {
            return Err(reader::malformed("a graph has other inputs or outputs than the model"));
        }
        graphs.push(CompiledGraph { when, reads, graph });
    }
    reader.finish()?;
    Ok(SavedModel { model: CompiledModel { graphs, inputs, outputs, report }, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    /// A file of this build that says this and has no parts.
    fn file(describe: impl FnOnce(&mut Writer) -> Result<()>) -> Vec<u8> {
        let mut writer = Writer::default();
        let report = Report::default();
        writer.json(&PrefaceOf { digest: None, inputs: &[], outputs: &[], report: &report }).unwrap();
        describe(&mut writer).unwrap();
        let (description, _) = writer.finish();
        [Header::of(&description, &[]).to_bytes().to_vec(), description].concat()
    }

    /// A graph of one node: its inputs, its operator, and of its output the type and shape.
    fn one_node(
        inputs: Vec<(usize, usize)>,
        operator: impl Fn(&mut Writer) -> Result<()>,
        output: (usize, &[i64]),
    ) -> Vec<u8> {
        file(|writer| {
            writer.value(&1usize)?;
            writer.value(&(Vec::<(usize, bool)>::new(), Vec::<usize>::new()))?;
            writer.value(&(Vec::<&str>::new(), 1usize, "node", inputs))?;
            operator(writer)?;
            writer.value(&(1usize, output.0))?;
            let sizes: Vec<_> = output.1.iter().map(|size| tract_core::internal::TDim::Val(*size)).collect();
            writer.expressions(&sizes)?;
            writer.value(&(Vec::<(usize, usize)>::new(), Vec::<(usize, usize)>::new()))
        })
    }

    #[test]
    fn what_nobody_can_have_saved_is_refused() {
        const HUGE: usize = 1 << 60;
        const FLOAT: usize = 10;
        // A constant of float32: of what shape, and of how many bytes.
        let constant = |shape: Vec<usize>, bytes: usize| {
            move |writer: &mut Writer| {
                writer.value(&("tract.Const", false, None::<usize>, FLOAT, &shape, bytes))?;
                writer.value(&0u64)
            }
        };
        let zeros = |writer: &mut Writer| {
            writer.value(&("tract.Const", false, None::<usize>, FLOAT, [2usize; 1].to_vec(), 8usize, [0u8; 8]))
        };
        let named = |name: &'static str| move |writer: &mut Writer| writer.value(name);
        let cases = [
            ("a graph", one_node(vec![], zeros, (FLOAT, &[2])), true),
            ("another type", one_node(vec![], zeros, (FLOAT - 1, &[2])), false),
            ("no type", one_node(vec![], zeros, (HUGE, &[2])), false),
            ("another shape", one_node(vec![], zeros, (FLOAT, &[3])), false),
            ("another rank", one_node(vec![], zeros, (FLOAT, &[2, 1])), false),
            ("a node that reads itself", one_node(vec![(0, 0)], zeros, (FLOAT, &[2])), false),
            ("no such node", one_node(vec![(HUGE, HUGE)], zeros, (FLOAT, &[2])), false),
            ("no such operator", one_node(vec![], named("Frobnicate"), (FLOAT, &[2])), false),
            ("no inputs", one_node(vec![], named("tract.Iff"), (FLOAT, &[2])), false),
            ("bytes that are not there", one_node(vec![], constant(vec![2, HUGE], HUGE), (FLOAT, &[2])), false),
            ("too many elements", one_node(vec![], constant(vec![HUGE, HUGE], 8), (FLOAT, &[2])), false),
            ("too few bytes", one_node(vec![], constant(vec![1000], 8), (FLOAT, &[2])), false),
            ("graphs", file(|writer| writer.value(&HUGE)), false),
            ("symbols", file(|writer| writer.value(&(1usize, 0u8, 0u8, HUGE))), false),
            ("nodes", file(|writer| writer.value(&(1usize, 0u8, 0u8, 0u8, HUGE))), false),
            ("more than there is", file(|writer| writer.value(&(0usize, 0u8))), false),
            (
                "inputs",
                file(|writer| writer.value(&(1usize, vec![(HUGE, true)], vec![HUGE], 0u8, 0u8, 0u8, 0u8))),
                false,
            ),
            ("nothing", file(|_| Ok(())), false),
        ];
        for (what, bytes, fits) in cases {
            let code = read(&("artefact", &*bytes)).err().map(|error| error.code);
            assert_eq!(code, (!fits).then_some(ErrorCode::InvalidModel), "{what}");
        }
    }

    #[test]
    fn headers_of_other_files_are_refused() {
        let good = file(|writer| writer.value(&0usize));
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let cases = [
            (good.clone(), None),
            (changed(0), Some(ErrorCode::InvalidModel)),
            (changed(9), Some(ErrorCode::InvalidModel)),
            (changed(16), Some(ErrorCode::InvalidModel)),
            (changed(24), Some(ErrorCode::IntegrityError)),
            (changed(39), Some(ErrorCode::IntegrityError)),
            (changed(40), Some(ErrorCode::IntegrityError)),
            (changed(70), Some(ErrorCode::IntegrityError)),
            (good[..good.len() - 1].to_vec(), Some(ErrorCode::IntegrityError)),
            (vec![], Some(ErrorCode::InvalidModel)),
        ];
        for (bytes, code) in cases {
            assert_eq!(read(&("artefact", &*bytes)).err().map(|error| error.code), code);
            assert_eq!(check(&("artefact", &*bytes), None).err().map(|error| error.code), code);
        }
    }
}
