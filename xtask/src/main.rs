//! `cargo xtask`: every command that builds, shows, tests or measures sottovoce, set-up included.

mod agree;
#[path = "../../tests/common/archive.rs"]
mod archive;
mod bench;
mod build;
mod demo;
mod files;
mod models;
mod node;
mod process;
mod serve;
mod system;
mod test;
mod toolchain;
mod wasm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Builds, shows, tests and measures sottovoce")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the engine to WebAssembly and the npm package into pkg/
    Build(build::Options),
    /// Fetch the models of the demo and the tests into models/
    Models(models::Options),
    /// Build everything and serve the demo page on this machine
    Demo(demo::Options),
    /// Serve a folder on this machine, with the headers of the demo
    Serve(serve::Options),
    /// Run every check: format, lints, Rust tests, types, real browser
    Test(test::Options),
    /// Run ours and its peers side by side in one browser
    Bench(bench::Options),
    /// Compare every model on every backend with ONNX Runtime's answers and write docs/agreement.md
    Agree(agree::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Build(options) => build::run(&options),
        Command::Models(options) => models::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Agree(options) => agree::run(&options),
    }
}
