//! The engine on the command line: `run`, `inspect` and `bench` a model without a browser.

use clap::{Parser, Subcommand, ValueEnum};
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::{Dimension, FileSource, external_files};
use sottovoce::tensor::{DType, Tensor, TensorData};
use sottovoce::tensor_file;
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
        /// The .onnx file.
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
        /// The .onnx file.
        model: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Time a model on inputs of ones.
    Bench {
        /// The .onnx file.
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
    let arguments = Arguments::parse();
    let outcome = std::panic::catch_unwind(|| execute(arguments.command))
        .unwrap_or_else(|_| Err(Error::new(ErrorCode::InternalError, "a defect of sottovoce")));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {}", error.code.name(), error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run { model, inputs, outputs, on } => run(&model, &inputs, &outputs, &on),
        Command::Inspect { model, json } => inspect(&model, json),
        Command::Bench { model, length, batch, runs, on } => bench(&model, &Sizes { batch, length }, runs, &on),
    }
}

fn load(model: &Path, on: &On) -> Result<Session> {
    if let Some(threads) = on.threads {
        if threads == 0 {
            return Err(Error::invalid_input("0 threads cannot compute").remedy("pass --threads 1 or more"));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Error::out_of_memory(format!("the threads cannot be started: {error}")))?;
    }
    let preference = match on.device {
        Device::Cpu => DevicePreference::Cpu,
        Device::Gpu => DevicePreference::Gpu,
    };
    let source = FileSource::open(model)?;
    pollster::block_on(Session::load(&source, &external_files(model)?, preference, &Uninterrupted))
}

fn run(model: &Path, inputs: &Path, outputs: &Path, on: &On) -> Result<()> {
    let mut session = load(model, on)?;
    let feeds = tensor_file::read(inputs)?;
    let results = pollster::block_on(session.run(&feeds, &[], &Uninterrupted))?;
    tensor_file::write(outputs, &results)
}

fn inspect(model: &Path, json: bool) -> Result<()> {
    let session = load(model, &On { device: Device::Cpu, threads: None })?;
    let (info, report) = (session.info(), session.report());
    if json {
        let value = serde_json::json!({ "inputs": info.inputs, "outputs": info.outputs, "report": report });
        println!("{value:#}");
        return Ok(());
    }
    for (heading, tensors) in [("inputs", &info.inputs), ("outputs", &info.outputs)] {
        println!("{heading}");
        for tensor in tensors {
            let shape = tensor.shape.iter().flatten().map(Dimension::to_string).collect::<Vec<_>>().join(", ");
            println!("  {} {} [{shape}]", tensor.name, tensor.dtype.name());
        }
    }
    for (heading, counts) in [
        ("operators before", &report.operators_before),
        ("operators after", &report.operators_after),
        ("fused", &report.fused),
    ] {
        println!("{heading} ({})", counts.values().sum::<usize>());
        for (name, count) in counts {
            println!("  {count:5} {name}");
        }
    }
    println!("not fused ({})", report.not_fused.len());
    for miss in &report.not_fused {
        println!("  {} at {}: {}", miss.pattern, miss.node, miss.reason);
    }
    println!("not simplified ({})", report.not_simplified.len());
    for miss in &report.not_simplified {
        println!("  {miss}");
    }
    Ok(())
}

struct Sizes {
    batch: usize,
    length: usize,
}

fn bench(model: &Path, sizes: &Sizes, runs: usize, on: &On) -> Result<()> {
    let start = Instant::now();
    let mut session = load(model, on)?;
    println!("load {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let feeds = session.info().inputs.iter().map(|input| ones(input, sizes)).collect::<Result<Vec<_>>>()?;
    let mut times = Vec::new();
    for _ in 0..=runs {
        let start = Instant::now();
        pollster::block_on(session.run(&feeds, &[], &Uninterrupted))?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("first run {:.2} ms", times[0]);
    times.remove(0);
    times.sort_by(f64::total_cmp);
    if let (Some(fastest), Some(slowest)) = (times.first(), times.last()) {
        println!("median {:.2} ms, {fastest:.2} to {slowest:.2}, {} runs", times[times.len() / 2], times.len());
    }
    Ok(())
}

fn ones(input: &sottovoce::onnx::TensorInfo, sizes: &Sizes) -> Result<(String, Tensor)> {
    let size = |(axis, dimension): (usize, &Dimension)| match dimension {
        Dimension::Fixed(size) => *size,
        Dimension::Symbol(_) if axis == 0 => sizes.batch,
        Dimension::Symbol(_) => sizes.length,
    };
    let dims: Vec<usize> = input.shape.iter().flatten().enumerate().map(size).collect();
    let volume = dims.iter().product();
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
