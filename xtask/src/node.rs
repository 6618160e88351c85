//! Node.js, npm and the packages that a folder's package-lock.json pins.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{files, process};

/// Frames of the programs that Emscripten made are large: a deep module overflows V8's default stack of 1 MB.
const STACK_KILOBYTES: usize = 6000;

/// Installs the locked packages of `folder` unless they are there. No package runs scripts.
pub fn install(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let Some(identity) = files::sha256_of(&lock)? else {
        anyhow::bail!("{} is missing: run `npm install --ignore-scripts` there and commit it", lock.display());
    };
    let stamp = folder.join("node_modules/.installed.stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == identity) {
        return Ok(());
    }
    println!("Installing the npm packages of {}", folder.display());
    process::run(npm("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))?;
    files::write_atomically(&stamp, identity.as_bytes())
}

/// A script of the package.json of `folder`.
pub fn npm_run(folder: &Path, script: &str) -> Command {
    let mut command = npm("npm");
    command.args(["run", "--silent", script]).current_dir(folder);
    command
}

/// A program of a package installed in `folder`; never downloads one.
pub fn npx(folder: &Path, program: &str) -> Command {
    let mut command = npm("npx");
    command.args(["--no", "--", program]).current_dir(folder);
    command
}

/// A JavaScript file of a package installed in `folder`, run by Node.js.
pub fn script(folder: &Path, file: &str) -> Result<Command> {
    let path = folder.join("node_modules").join(file);
    ensure!(path.is_file(), "{} is missing: is its package in package.json?", path.display());
    let mut command = Command::new("node");
    command.arg(format!("--stack-size={STACK_KILOBYTES}")).arg(path);
    Ok(command)
}

/// On Windows npm and npx are command files, which are started by their full name only.
fn npm(program: &str) -> Command {
    Command::new(if cfg!(windows) { format!("{program}.cmd") } else { program.to_owned() })
}
