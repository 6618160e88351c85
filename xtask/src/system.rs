//! What the tests need from the machine: a Chromium and, on request, a software Vulkan driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{node, process};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A Chromium: the one of `CHROME_BIN`, the system's, Debian's package, or the download of Playwright as installed in `folder`.
pub fn browser(folder: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHROME_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "CHROME_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    if let Some(path) = installed_browser() {
        return Ok(path);
    }
    if can_install_packages() {
        install_packages(&["chromium", "fonts-dejavu-core"])?;
        return installed_browser().context("the package `chromium` is installed, yet no `chromium` is on the PATH");
    }
    process::run(node::npx(folder, "playwright").args(["install", "chromium"]))
        .context("no Chromium was found: install one, or name one in CHROME_BIN")?;
    let path = "process.stdout.write(require('@playwright/test').chromium.executablePath())";
    Ok(process::output(Command::new("node").args(["-e", path]).current_dir(folder))?.into())
}

/// Makes sure that a Vulkan driver is installed, Mesa's software one where there is none.
pub fn ensure_vulkan() -> Result<()> {
    if has_vulkan_driver() {
        return Ok(());
    }
    ensure!(
        can_install_packages(),
        "no Vulkan driver is installed; Mesa's software driver will do (Debian: mesa-vulkan-drivers)"
    );
    install_packages(&["mesa-vulkan-drivers"])?;
    ensure!(has_vulkan_driver(), "the package `mesa-vulkan-drivers` is installed, yet no Vulkan driver is registered");
    Ok(())
}

fn installed_browser() -> Option<PathBuf> {
    BROWSERS.iter().find_map(|name| process::find_program(name))
}

fn has_vulkan_driver() -> bool {
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|folder| fs::read_dir(folder).is_ok_and(|mut drivers| drivers.next().is_some()))
}

/// Packages are installed unasked only where that needs no password: as root, on Debian and its kin.
fn can_install_packages() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    root && process::find_program("apt-get").is_some()
}

fn install_packages(names: &[&str]) -> Result<()> {
    println!("Installing {}", names.join(", "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        command
    };
    process::run(apt().arg("update"))?;
    if let Err(error) = process::run(apt().args(["install", "-y", "--no-install-recommends"]).args(names)) {
        bail!("{} could not be installed: {error}", names.join(", "));
    }
    Ok(())
}
