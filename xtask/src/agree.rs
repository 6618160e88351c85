//! `cargo xtask agree`: every real model and every export on every backend against ONNX Runtime's recorded answers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::serve::Server;
use crate::wasm::Variant;
use crate::{files, models, node, process, system};

#[derive(Args)]
pub struct Options {
    /// Also write the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Take the builds in pkg/ and target/, made by an earlier command
    #[arg(long)]
    no_build: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let folder = process::root().join("tests/browser");
    node::install(&folder)?;
    models::fetch(models::Purpose::Agree)?;
    files::unpack_fixtures()?;
    if !options.no_build {
        build::run(&build::Options { release: true, variant: Variant::UNTHREADED.to_vec(), selftest: false })?;
        process::run(process::cargo().args(["build", "--release", "--package", "sottovoce", "--bin", "sottovoce"]))?;
    }
    let root = Server::start_anywhere(process::root())?;
    let mut command = node::npx(&folder, "playwright");
    command
        .args(["test", "--config", "agree.config.ts"])
        .env("CHROME_BIN", system::browser(&folder)?)
        .env("SOTTOVOCE_ROOT_URL", &root.address)
        .env("SOTTOVOCE_DEMO_URL", &root.address)
        .env("SOTTOVOCE_CLI", native_program());
    if let Some(file) = &options.json {
        command.env("SOTTOVOCE_AGREE_JSON", std::path::absolute(file)?);
    }
    process::run(&mut command)
}

fn native_program() -> PathBuf {
    process::target_folder().join("release").join(format!("sottovoce{}", std::env::consts::EXE_SUFFIX))
}
