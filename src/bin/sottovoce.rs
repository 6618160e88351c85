//! The engine on the command line: `run`, `inspect`, `save` and `bench` a model without a browser.

use clap::{Parser, Subcommand, ValueEnum};
use sottovoce::artefact::is_artefact;
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::{Dimension, FileSource, external_files};
use sottovoce::tensor::{DType, Tensor, TensorData};
use sottovoce::tensor_file;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Run Transformers exported to ONNX.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a model once on tensors from a file.
    Run {
        /// The .onnx file, or what `save` made of it.
        model: PathBuf,
        /// Safetensors file with the inputs, under the graph's names.
        #[arg(long)]
        inputs: PathBuf,
        /// Safetensors file to write the outputs to.
        #[arg(long)]
        outputs: PathBuf,
        #[command(flatten)]
        on: On,
    },
    /// Show a model's inputs, outputs and operators, and what fused.
    Inspect {
        /// The .onnx file, or what `save` made of it.
        model: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Save a model's plan and packed weights, from which this very build loads it faster.
    Save {
        /// The .onnx file.
        model: PathBuf,
        /// File to write.
        artefact: PathBuf,
    },
    /// Time a model on inputs of ones.
    Bench {
        /// The .onnx file, or what `save` made of it.
        model: PathBuf,
        /// Size of every symbolic dimension but the first of an input, which is the batch.
        #[arg(long, default_value_t = 128)]
        length: usize,
        /// Size of the first dimension where it is symbolic.
        #[arg(long, default_value_t = 1)]
        batch: usize,
        /// Timed runs, after one that is not.
        #[arg(long, default_value_t = 20)]
        runs: usize,
        #[command(flatten)]
        on: On,
    },
}

#[derive(clap::Args)]
struct On {
    /// Where to run the attention.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// CPU threads; all cores if left out.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Device {
    Cpu,
    Gpu,
}

fn main() -> ExitCode {
    // Panics are caught where they matter and reported as errors; the hook would print them too.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(|| parse()?.map_or(Ok(()), execute))
        .unwrap_or_else(|_| Err(Error::new(ErrorCode::InternalError, "a defect of sottovoce")));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            // Whoever has closed the pipe wants no reason.
            let _ = writeln!(std::io::stderr(), "error[{}]: {line}", error.code.name());
            ExitCode::FAILURE
        }
    }
}

/// The command, or none where only help was asked for.
fn parse() -> Result<Option<Command>> {
    let error = match Arguments::try_parse() {
        Ok(arguments) => return Ok(Some(arguments.command)),
        Err(error) => error,
    };
    let text = error.render().to_string();
    if !error.use_stderr() {
        print(&text)?;
        return Ok(None);
    }
    let reason = text.split("\n\n").next().unwrap_or_default();
    Err(Error::invalid_input(reason.strip_prefix("error: ").unwrap_or(reason)).remedy("see --help"))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written
        .map_err(|error| Error::network(format!("the output cannot be written: {error}")).remedy("keep the pipe open"))
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run { model, inputs, outputs, on } => run(&model, &inputs, &outputs, &on),
        Command::Inspect { model, json } => inspect(&model, json),
        Command::Save { model, artefact } => save(&model, &artefact),
        Command::Bench { model, length, batch, runs, on } => bench(&model, &Sizes { batch, length }, runs, &on),
    }
}

/// More threads than any machine has cores.
const MOST_THREADS: usize = 1024;

fn load(model: &Path, on: &On) -> Result<Session> {
    if let Some(threads) = on.threads {
        if threads == 0 {
            return Err(Error::invalid_input("0 threads cannot compute").remedy("pass --threads 1 or more"));
        }
        if threads > MOST_THREADS {
            return Err(Error::invalid_input(format!("{threads} threads are too many"))
                .remedy(format!("pass --threads {MOST_THREADS} or fewer")));
        }
        sottovoce::kernels::pool::start(Some(threads))
            .map_err(|error| Error::out_of_memory(format!("the threads cannot be started: {error}")))?;
    }
    let preference = match on.device {
        Device::Cpu => DevicePreference::Cpu,
        Device::Gpu => DevicePreference::Gpu,
    };
    let source = FileSource::open(model)?;
    let external = if is_artefact(&source)? { vec![] } else { external_files(model)? };
    pollster::block_on(Session::load(&source, &external, preference, &Uninterrupted))
}

fn run(model: &Path, inputs: &Path, outputs: &Path, on: &On) -> Result<()> {
    let mut session = load(model, on)?;
    let feeds = tensor_file::read(inputs)?;
    let results = pollster::block_on(session.run(&feeds, &[], &Uninterrupted))?;
    tensor_file::write(outputs, &results)
}

fn inspect(model: &Path, json: bool) -> Result<()> {
    let session = load(model, &On { device: Device::Cpu, threads: None })?;
    if json {
        let value = serde_json::json!({
            "inputs": session.inputs(),
            "outputs": session.outputs(),
            "weight_bytes": session.weight_bytes(),
            "report": session.report(),
        });
        return print(&format!("{value:#}\n"));
    }
    print(&described(&session))
}

fn save(model: &Path, artefact: &Path) -> Result<()> {
    let session = load(model, &On { device: Device::Cpu, threads: None })?;
    let saved = session.save(None)?;
    let unwritable = |error: std::io::Error| {
        Error::network(format!("the file cannot be written: {error}"))
            .file(artefact.display().to_string())
            .remedy("check the path, its permissions and the room on the disk")
    };
    let mut file = std::fs::File::create(artefact).map_err(unwritable)?;
    saved.write(|piece| file.write_all(piece).map_err(unwritable))
}

fn described(session: &Session) -> String {
    let report = session.report();
    let mut text = String::new();
    let mut line = |line: String| text.push_str(&(line + "\n"));
    for (heading, tensors) in [("inputs", session.inputs()), ("outputs", session.outputs())] {
        line(heading.into());
        for tensor in tensors {
            let shape = tensor.shape.iter().flatten().map(Dimension::to_string).collect::<Vec<_>>().join(", ");
            line(format!("  {} {} [{shape}]", tensor.name, tensor.dtype.name()));
        }
    }
    line(format!("weights\n  {} bytes", session.weight_bytes()));
    for (heading, counts) in [
        ("operators before", &report.operators_before),
        ("operators after", &report.operators_after),
        ("fused", &report.fused),
    ] {
        line(format!("{heading} ({})", counts.values().sum::<usize>()));
        for (name, count) in counts {
            line(format!("  {count:5} {name}"));
        }
    }
    line(format!("not fused ({})", report.not_fused.len()));
    for miss in &report.not_fused {
        line(format!("  {} at {}: {}", miss.pattern, miss.node, miss.reason));
    }
    line(format!("not simplified ({})", report.not_simplified.len()));
    for miss in &report.not_simplified {
        line(format!("  {miss}"));
    }
    text
}

struct Sizes {
    batch: usize,
    length: usize,
}

fn bench(model: &Path, sizes: &Sizes, runs: usize, on: &On) -> Result<()> {
    let start = Instant::now();
    let mut session = load(model, on)?;
    print(&format!("load {:.1} ms\n", start.elapsed().as_secs_f64() * 1e3))?;
    let feeds = session.inputs().iter().map(|input| ones(input, sizes)).collect::<Result<Vec<_>>>()?;
    let mut times = Vec::new();
    for _ in 0..=runs {
        let start = Instant::now();
        pollster::block_on(session.run(&feeds, &[], &Uninterrupted))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    print(&format!("first run {:.2} ms\n", times[0]))?;
    times.remove(0);
    times.sort_by(f64::total_cmp);
    if let (Some(fastest), Some(slowest)) = (times.first(), times.last()) {
        let (median, runs) = (times[times.len() / 2], times.len());
        print(&format!("median {median:.2} ms, {fastest:.2} to {slowest:.2}, {runs} runs\n"))?;
    }
    Ok(())
}

/// The most elements that an input to be timed with may have.
const MOST_ELEMENTS: usize = 1 << 28;

fn ones(input: &sottovoce::onnx::TensorInfo, sizes: &Sizes) -> Result<(String, Tensor)> {
    let size = |(axis, dimension): (usize, &Dimension)| match dimension {
        Dimension::Fixed(size) => *size,
        Dimension::Symbol(_) if axis == 0 => sizes.batch,
        Dimension::Symbol(_) => sizes.length,
    };
    let dims: Vec<usize> = input.shape.iter().flatten().enumerate().map(size).collect();
    let volume = dims.iter().try_fold(1usize, |volume, size| volume.checked_mul(*size));
    let volume = volume.filter(|volume| *volume <= MOST_ELEMENTS).ok_or_else(|| {
        Error::invalid_input(format!("an input of {dims:?} elements is too large"))
            .tensor(&*input.name)
            .remedy("pass smaller values for --batch and --length")
    })?;
    let data: TensorData = match input.dtype {
        DType::Int64 => vec![1i64; volume].into(),
        DType::Int32 => vec![1i32; volume].into(),
        DType::Bool => vec![true; volume].into(),
        DType::Float32 => vec![1f32; volume].into(),
        other => {
            return Err(Error::invalid_input(format!("no inputs of type {} are made here", other.name()))
                .tensor(&*input.name)
                .remedy("time the model with the `run` command"));
        }
    };
    Ok((input.name.clone(), Tensor::new(&dims, data)?))
}
