//! `cargo xtask test`: every check, in order of cost; the first that fails ends the run.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::build;
use crate::serve::Server;
use crate::wasm::Variant;
use crate::{demo, files, models, node, process, system, toolchain, wasm};

#[derive(Args)]
pub struct Options {
    /// Run these stages only
    #[arg(long, value_enum)]
    only: Vec<Stage>,
    /// Fail where the tests find no Vulkan adapter, and install Mesa's software one if need be (always so where CI=true)
    #[arg(long)]
    require_gpu: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// cargo fmt --check
    Format,
    /// clippy on everything, natively
    Clippy,
    /// clippy on the library, for WebAssembly
    ClippyWasm,
    /// The models, fetched or verified
    Models,
    /// Rust unit and integration tests, natively
    Rust,
    /// The API documentation
    Docs,
    /// The npm package, and the modules that test themselves
    Build,
    /// The TypeScript type check
    Types,
    /// The tests of the package's JavaScript, in Node.js
    Package,
    /// Playwright in a real Chromium
    Browser,
}

pub fn run(options: &Options) -> Result<()> {
    let require_gpu = options.require_gpu || std::env::var_os("CI").is_some_and(|value| value == "true");
    toolchain::ensure()?;
    let mut durations = Vec::new();
    for &stage in Stage::value_variants() {
        if options.only.is_empty() || options.only.contains(&stage) {
            println!("\n=== {}", stage.name());
            let start = Instant::now();
            stage
                .run(require_gpu)
                .with_context(|| format!("stage `{}` failed; again: cargo xtask test --only {0}", stage.name()))?;
            durations.push((stage, start.elapsed()));
        }
    }
    println!("\nAll passed: {}", summary(&durations));
    Ok(())
}

fn summary(durations: &[(Stage, Duration)]) -> String {
    let parts: Vec<_> =
        durations.iter().map(|(stage, duration)| format!("{} {:.0} s", stage.name(), duration.as_secs_f64())).collect();
    parts.join(", ")
}

impl Stage {
    fn name(self) -> String {
        self.to_possible_value().expect("no stage is hidden").get_name().to_owned()
    }

    fn run(self, require_gpu: bool) -> Result<()> {
        match self {
            Self::Format => process::run(process::cargo().args(["fmt", "--all", "--check"])),
            Self::Clippy => clippy(),
            Self::ClippyWasm => clippy_wasm(),
            Self::Models => models::fetch(models::Purpose::Test),
            Self::Rust => rust_tests(require_gpu),
            Self::Docs => process::run(
                process::cargo()
                    .args(["doc", "--no-deps", "--package", "sottovoce-base", "--package", "sottovoce", "--lib"])
                    .env("RUSTDOCFLAGS", "-Dwarnings"),
            ),
            Self::Build => build_all(),
            Self::Types => check_types(),
            Self::Package => package_script("test"),
            Self::Browser => browser_tests(),
        }
    }
}

/// Checked one by one: together they would share the features of their dependencies, and these would be compiled again for each
/// command that is for one package only.
const PACKAGES: [&str; 3] = ["xtask", "sottovoce-base", "sottovoce"];

fn clippy() -> Result<()> {
    PACKAGES.iter().try_for_each(|package| {
        process::run(process::cargo().args(["clippy", "--package", package, "--all-targets", "--", "-Dwarnings"]))
    })
}

/// The kernels differ by target feature: each variant is linted.
fn clippy_wasm() -> Result<()> {
    for feature in ["+simd128", "+relaxed-simd"] {
        let mut command = wasm::cargo_for_wasm("clippy", false);
        command.args([
            "--package",
            "sottovoce-base",
            "--package",
            "sottovoce",
            "--lib",
            "--all-features",
            "--",
            "-Dwarnings",
        ]);
        process::run(command.arg(format!("-Ctarget-feature={feature}")))?;
    }
    Ok(())
}

fn rust_tests(require_gpu: bool) -> Result<()> {
    if require_gpu {
        system::ensure_vulkan()?;
    }
    for package in PACKAGES {
        let mut command = process::cargo();
        command.args(["test", "--package", package]);
        if require_gpu {
            command.env("SOTTOVOCE_REQUIRE_GPU", "1");
        }
        process::run(&mut command)?;
    }
    Ok(())
}

fn build_all() -> Result<()> {
    build::run(&build::Options { release: false, variant: Variant::ALL.to_vec(), selftest: true })
}

fn package_script(name: &str) -> Result<()> {
    let package = process::root().join("pkg");
    node::install(&package)?;
    process::run(&mut node::npm_run(&package, name))
}

/// The package's own script checks the package; here follow the programs that use it.
fn check_types() -> Result<()> {
    package_script("check")?;
    let package = process::root().join("pkg");
    for folder in ["tests/browser", "benches"] {
        let folder = process::root().join(folder);
        if folder.join("tsconfig.json").is_file() {
            node::install(&folder)?;
            process::run(node::npx(&package, "tsc").arg("--noEmit").arg("-p").arg(&folder))?;
        }
    }
    Ok(())
}

/// The specs read CHROME_BIN, SOTTOVOCE_DEMO_URL (www/dist) and SOTTOVOCE_ROOT_URL (the repository: pages, package, models).
fn browser_tests() -> Result<()> {
    let folder = process::root().join("tests/browser");
    node::install(&folder)?;
    files::unpack_fixtures()?;
    let browser = system::browser(&folder)?;
    let demo = Server::start_anywhere(&demo::assemble()?)?;
    let root = Server::start_anywhere(process::root())?;
    run_playwright(&folder, &browser, &demo.address, &root.address)
}

fn run_playwright(folder: &Path, browser: &Path, demo: &str, root: &str) -> Result<()> {
    process::run(
        node::npx(folder, "playwright")
            .arg("test")
            .env("CHROME_BIN", browser)
            .env("SOTTOVOCE_DEMO_URL", demo)
            .env("SOTTOVOCE_ROOT_URL", root),
    )
}
