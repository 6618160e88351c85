//! Running other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// Runs `command` with its output passed through; anything but success is an error that quotes the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", command_line(command));
    }
    Ok(())
}

/// Runs `command` and returns what it printed, trimmed; anything but success is an error with what it complained of.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("`{}` could not be started", command_line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}): {}",
            command_line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The file that the shell would run for `name`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| file.is_file())
}

/// The cargo that runs this program, in the repository root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The repository root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}

/// Where cargo puts its outputs.
pub fn target_folder() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("`{}` could not be started", command_line(command)))
}

fn command_line(command: &Command) -> String {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        struct Case {
            arguments: &'static [&'static str],
            message: Option<&'static str>,
        }
        let cases = [
            Case { arguments: &["--version"], message: None },
            Case { arguments: &["--no-such-option"], message: Some("--no-such-option` failed (") },
            Case { arguments: &["--no-such-option"], message: Some("unexpected argument") },
        ];
        for case in cases {
            let result = output(cargo().args(case.arguments));
            match case.message {
                None => assert!(result.expect("succeeds").starts_with("cargo 1.")),
                Some(message) => assert!(result.expect_err("fails").to_string().contains(message)),
            }
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert_eq!(find_program("no-such-program-anywhere"), None);
        let error = run(&mut Command::new("no-such-program-anywhere")).expect_err("fails");
        assert!(error.to_string().contains("could not be started"));
    }
}
