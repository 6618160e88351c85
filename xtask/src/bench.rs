//! `cargo xtask bench`: ours and its peers side by side in one browser.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::wasm::Variant;
use crate::{models, node, process, system};

#[derive(Args)]
pub struct Options {
    /// Also write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write a bar chart of the ratios to this file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Measure the build that is in pkg/, made by an earlier command
    #[arg(long)]
    no_build: bool,
    /// Handed on to benches/run.mjs
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let folder = process::root().join("benches");
    models::fetch(models::Purpose::Bench)?;
    if !options.no_build {
        build::run(&build::Options { release: true, variant: Variant::ALL.to_vec(), selftest: false })?;
    }
    node::install(&folder)?;
    let mut command = Command::new("node");
    command.arg(folder.join("run.mjs")).args(&options.arguments).env("CHROME_BIN", system::browser(&folder)?);
    for (option, file) in [("--json", &options.json), ("--svg", &options.svg)] {
        if let Some(file) = file {
            command.arg(option).arg(file);
        }
    }
    process::run(&mut command)
}
