//! `cargo xtask build`: the npm package in pkg/.

use std::fs;

use anyhow::{Context, Result};
use clap::Args;

use crate::wasm::{self, Module, Variant};
use crate::{node, process, toolchain};

#[derive(Args)]
pub struct Options {
    /// Optimise for speed and size (takes minutes)
    #[arg(long)]
    pub release: bool,
    /// Build these modules only
    #[arg(long, value_enum, default_values_t = Variant::ALL)]
    pub variant: Vec<Variant>,
    /// With the tables of cases that the browser tests run inside the modules
    #[arg(long)]
    pub selftest: bool,
}

pub fn run(options: &Options) -> Result<()> {
    toolchain::ensure()?;
    node::install(&process::root().join("pkg"))?;
    let module = |&variant: &Variant| Module { variant, release: options.release, selftest: options.selftest };
    wasm::build(&options.variant.iter().map(module).collect::<Vec<_>>())?;
    process::run(&mut node::npm_run(&process::root().join("pkg"), "build"))?;
    copy_texts()
}

/// npm packs the texts that stand beside package.json.
fn copy_texts() -> Result<()> {
    for name in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(process::root().join(name), process::root().join("pkg").join(name))
            .with_context(|| format!("{name} could not be copied"))?;
    }
    Ok(())
}
