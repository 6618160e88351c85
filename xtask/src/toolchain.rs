//! The parts of the Rust toolchain that a build needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Installs what `rust-toolchain.toml` lists where rustup did not do so by itself.
pub fn ensure() -> Result<()> {
    let sysroot = sysroot()?;
    if missing_part(&sysroot).is_none() {
        return Ok(());
    }
    println!("Installing the toolchain of rust-toolchain.toml");
    // Inside cargo, RUSTUP_TOOLCHAIN names a bare toolchain and hides the file with its targets and components.
    process::run(
        Command::new("rustup")
            .args(["toolchain", "install"])
            .env_remove("RUSTUP_TOOLCHAIN")
            .current_dir(process::root()),
    )?;
    match missing_part(&sysroot) {
        None => Ok(()),
        Some(part) => bail!(
            "rustup installed the toolchain, yet {} is missing; is another toolchain active here?",
            part.display()
        ),
    }
}

fn sysroot() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(process::output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(process::root()))?.into())
}

fn missing_part(sysroot: &Path) -> Option<PathBuf> {
    let exe = std::env::consts::EXE_SUFFIX;
    let parts = [
        "lib/rustlib/wasm32-unknown-unknown/lib".to_owned(),
        "lib/rustlib/src/rust/library/std".to_owned(),
        format!("bin/rustfmt{exe}"),
        format!("bin/cargo-clippy{exe}"),
    ];
    parts.into_iter().map(|part| sysroot.join(part)).find(|part| !part.exists())
}
