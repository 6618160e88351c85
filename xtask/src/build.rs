//! `cargo xtask build`: the npm package in pkg/.

use std::fs;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::wasm::{self, Module, Variant};
use crate::{node, process, toolchain};

#[derive(Args)]
pub struct Options {
    /// Optimise for speed and size (takes minutes)
    #[arg(long)]
    pub release: bool,
    /// Which modules to build
    #[arg(long, value_enum, default_value_t = Selection::All)]
    pub variant: Selection,
    /// Build the modules that carry the tables of cases for the browser tests instead
    #[arg(long)]
    pub selftest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Selection {
    Simd,
    Relaxed,
    All,
}

impl Selection {
    fn variants(self) -> &'static [Variant] {
        match self {
            Self::Simd => &[Variant::Simd],
            Self::Relaxed => &[Variant::Relaxed],
            Self::All => &[Variant::Simd, Variant::Relaxed],
        }
    }
}

pub fn run(options: &Options) -> Result<()> {
    toolchain::ensure()?;
    node::install(&process::root().join("pkg"))?;
    let module = |&variant: &Variant| Module { variant, release: options.release, selftest: options.selftest };
    wasm::build(&options.variant.variants().iter().map(module).collect::<Vec<_>>())?;
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
