//! The WebAssembly modules of the package: cargo, wasm-bindgen, wasm-opt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use wasm_bindgen_cli_support::Bindgen;

use crate::{files, node, process};

/// What every browser that runs WebAssembly SIMD also has.
const BASE_FEATURES: &str =
    "+simd128,+bulk-memory,+mutable-globals,+nontrapping-fptoint,+sign-ext,+reference-types,+multivalue";

/// What a page downloads is small where it is not hot: all is optimised for size, but for what loops over tensors.
const RELEASE_PROFILE: [&str; 3] = [
    "profile.release.package.sottovoce.opt-level=\"z\"",
    "profile.release.package.\"*\".opt-level=\"z\"",
    "profile.release.package.tract-data.opt-level=\"s\"",
];

/// Where the constructors of statics are exported, the package calls them; else the linker has every export call them every time.
const CONSTRUCTORS: &str = "-Clink-arg=--export=__wasm_call_ctors";

/// What the linker needs to make a module whose instances share a memory.
const SHARED_MEMORY: [&str; 7] = [
    "--shared-memory",
    "--import-memory",
    "--max-memory=4294967296",
    "--export=__wasm_init_tls",
    "--export=__tls_size",
    "--export=__tls_align",
    "--export=__tls_base",
];

/// Nobody reads debug information of a module. Debug assertions would halve the speed of the kernels; what others check takes long to
/// compile.
const DEVELOPMENT_PROFILE: [&str; 7] = [
    "profile.dev.debug=false",
    "profile.dev.package.sottovoce-base.debug-assertions=false",
    "profile.dev.package.sottovoce.debug-assertions=false",
    "profile.dev.package.\"*\".debug-assertions=false",
    "profile.dev.package.\"*\".overflow-checks=false",
    "profile.dev.package.tract-linalg.opt-level=2",
    "profile.dev.package.tract-data.opt-level=2",
];

/// tract walks graphs recursively: the usual 1 MiB is too little for deep ones.
const STACK_BYTES: usize = 4 << 20;

/// The name under which wasm-bindgen writes its files.
const OUT_NAME: &str = "sottovoce";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// simd128, which runs in every current browser
    Simd,
    /// simd128 and relaxed SIMD
    Relaxed,
    /// simd128, for several threads, which share the memory
    SimdThreads,
    /// simd128 and relaxed SIMD, for several threads, which share the memory
    RelaxedThreads,
}

impl Variant {
    pub const ALL: [Self; 4] = [Self::Simd, Self::Relaxed, Self::SimdThreads, Self::RelaxedThreads];

    /// Those that run in pages that are not isolated.
    pub const UNTHREADED: [Self; 2] = [Self::Simd, Self::Relaxed];

    fn name(self) -> &'static str {
        match self {
            Self::Simd => "simd",
            Self::Relaxed => "relaxed",
            Self::SimdThreads => "simd-threads",
            Self::RelaxedThreads => "relaxed-threads",
        }
    }

    fn is_relaxed(self) -> bool {
        matches!(self, Self::Relaxed | Self::RelaxedThreads)
    }

    fn has_threads(self) -> bool {
        matches!(self, Self::SimdThreads | Self::RelaxedThreads)
    }
}

/// One module to build.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    pub variant: Variant,
    /// Optimised for speed and size, without debug names.
    pub release: bool,
    /// With the cargo feature `selftest`: the tables of cases inside.
    pub selftest: bool,
}

impl Module {
    /// Writes the JavaScript, the types and the WebAssembly of a compiled module below pkg/dist/wasm, unless they are there.
    fn package(self, compiled: &Path) -> Result<()> {
        let start = std::time::Instant::now();
        let stamp = self.target_folder().join("packaged.stamp");
        let identity = self.identity(compiled)?;
        let output = self.output_folder().join(format!("{OUT_NAME}_bg.wasm"));
        if output.exists() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == identity) {
            println!("wasm {}: unchanged", self.variant.name());
            return Ok(());
        }
        files::write_atomically(&stamp, b"in work")?;
        self.bind(compiled)?;
        if self.release {
            optimise(&output)?;
        }
        files::write_atomically(&stamp, identity.as_bytes())?;
        let mib = fs::metadata(&output)?.len() as f64 / f64::from(1 << 20);
        println!("wasm {}: {mib:.1} MiB, packaged in {:.0} s", self.variant.name(), start.elapsed().as_secs_f64());
        Ok(())
    }

    /// All that decides what [`Module::package`] writes: the compiled module, this program, the profile.
    fn identity(self, compiled: &Path) -> Result<String> {
        let program = fs::read(std::env::current_exe()?)?;
        Ok(format!("{} {} {}", files::sha256(&fs::read(compiled)?), files::sha256(&program), self.profile()))
    }

    fn target_folder(self) -> PathBuf {
        wasm_target_folder().join(self.variant.name())
    }

    fn output_folder(self) -> PathBuf {
        process::root().join("pkg/dist/wasm").join(self.variant.name())
    }

    fn profile(self) -> &'static str {
        if self.release { "release" } else { "debug" }
    }

    /// Runs cargo and returns the module that it linked.
    fn compile(self) -> Result<PathBuf> {
        let target_folder = self.target_folder();
        let mut command = cargo_for_wasm("rustc", self.variant.has_threads());
        command.args(["--package", "sottovoce-wasm", "--lib"]).env("CARGO_TARGET_DIR", &target_folder);
        if self.release {
            command.arg("--release");
        }
        if self.selftest {
            command.args(["--features", "selftest"]);
        }
        if self.variant.is_relaxed() {
            command.arg("-Zprofile-rustflags").arg(self.relaxed_kernels());
        }
        // Behind `--` a flag reaches the last crate only.
        command.args(["--", CONSTRUCTORS]);
        if self.variant.has_threads() {
            command.args(SHARED_MEMORY.map(|argument| format!("-Clink-arg={argument}")));
        }
        process::run(&mut command)?;
        Ok(target_folder.join("wasm32-unknown-unknown").join(self.profile()).join("sottovoce_wasm.wasm"))
    }

    /// The setting that lets the kernels use relaxed SIMD: the variants share all that lies below them.
    fn relaxed_kernels(self) -> String {
        let profile = if self.release { "release" } else { "dev" };
        format!("--config=profile.{profile}.package.sottovoce-base.rustflags=[\"-Ctarget-feature=+relaxed-simd\"]")
    }

    /// Writes the module with its JavaScript and its types.
    fn bind(self, compiled: &Path) -> Result<()> {
        let folder = self.output_folder();
        files::remove_folder(&folder)?;
        Bindgen::new()
            .input_path(compiled)
            .web(true)?
            .typescript(true)
            .out_name(OUT_NAME)
            .keep_debug(false)
            .remove_name_section(self.release)
            .remove_producers_section(true)
            // In-thread sessions, which have one thread, replace a trapped instance by a fresh one.
            .reset_state_function(!self.variant.has_threads())
            .generate(&folder)
            .with_context(|| format!("wasm-bindgen refused {}", compiled.display()))
    }
}

/// Builds modules into pkg/dist/wasm; of an unchanged one nothing is written.
pub fn build(modules: &[Module]) -> Result<()> {
    check_bindgen_version()?;
    if modules.iter().any(|module| module.release) {
        node::install(&tools())?;
    }
    // With threads and without, nothing is shared: side by side, one compiles while the other waits for a long crate, or is packaged.
    let (threaded, unthreaded): (Vec<_>, Vec<_>) = modules.iter().partition(|module| module.variant.has_threads());
    std::thread::scope(|scope| {
        let builds = [unthreaded, threaded].map(|modules| scope.spawn(move || build_in_turn(&modules)));
        builds.into_iter().try_for_each(|build| build.join().expect("building does not panic"))
    })
}

/// Modules that share what lies below the last crate; one is packaged while the next is compiled.
fn build_in_turn(modules: &[&Module]) -> Result<()> {
    std::thread::scope(|scope| {
        let mut packagings = Vec::new();
        for module in modules {
            let compiled = module.compile()?;
            packagings.push(scope.spawn(move || module.package(&compiled)));
        }
        packagings.into_iter().try_for_each(|packaging| packaging.join().expect("packaging does not panic"))
    })
}

/// `cargo SUBCOMMAND` for wasm32 with the flags of the package.
///
/// Cargo's layout with one folder per unit keeps the variants, whose files have the same names, apart in one build folder; it is
/// offered behind RUSTC_BOOTSTRAP. That variable changes what build scripts of common crates emit: hence build folders apart
/// from the native one. Threads need a standard library of their own, and all crates built for atomics: a second build folder lets both
/// be built at once.
pub fn cargo_for_wasm(subcommand: &str, threads: bool) -> Command {
    let flags = [
        format!("-Ctarget-feature={BASE_FEATURES}{}", if threads { ",+atomics" } else { "" }),
        format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        "--cfg=getrandom_backend=\"wasm_js\"".to_owned(),
    ];
    let mut command = process::cargo();
    command
        .args([subcommand, "--target", "wasm32-unknown-unknown", "-Zbuild-dir-new-layout"])
        .args(DEVELOPMENT_PROFILE.iter().chain(&RELEASE_PROFILE).map(|setting| format!("--config={setting}")))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", wasm_target_folder())
        .env("CARGO_BUILD_BUILD_DIR", wasm_target_folder().join(if threads { "build-threads" } else { "build" }));
    if threads {
        command.arg("-Zbuild-std=std,panic_abort");
    }
    command
}

/// The folder whose package.json pins wasm-opt.
fn tools() -> PathBuf {
    process::root().join("xtask")
}

/// Fails where the crate compiled in and the wasm-bindgen that reads it are of different versions.
fn check_bindgen_version() -> Result<()> {
    let lock = fs::read_to_string(process::root().join("Cargo.lock")).context("Cargo.lock could not be read")?;
    let compiled_in = locked_version(&lock, "wasm-bindgen")?;
    let reader = locked_version(&lock, "wasm-bindgen-cli-support")?;
    ensure!(
        compiled_in == reader,
        "Cargo.lock holds wasm-bindgen {compiled_in} and wasm-bindgen-cli-support {reader}: pin both to one version in Cargo.toml and xtask/Cargo.toml"
    );
    Ok(())
}

/// The one version of a package in a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Result<&'a str> {
    let heading = format!("[[package]]\nname = \"{package}\"\nversion = \"");
    let mut versions = lock.split(&heading).skip(1).filter_map(|rest| rest.split('"').next());
    match (versions.next(), versions.next()) {
        (Some(version), None) => Ok(version),
        (None, _) => bail!("Cargo.lock holds no {package}"),
        (Some(_), Some(_)) => bail!("Cargo.lock holds several versions of {package}"),
    }
}

fn wasm_target_folder() -> PathBuf {
    process::target_folder().join("wasm")
}

/// Runs Binaryen's wasm-opt in place.
fn optimise(module: &Path) -> Result<()> {
    let optimised = module.with_extension("optimised");
    let mut command = node::script(&tools(), "binaryen/bin/wasm-opt")?;
    command.arg(module).arg("-o").arg(&optimised).args([
        "-O3",
        "--enable-simd",
        "--enable-relaxed-simd",
        "--enable-exception-handling",
        "--enable-bulk-memory",
        "--enable-mutable-globals",
        "--enable-nontrapping-float-to-int",
        "--enable-sign-ext",
        "--enable-reference-types",
        "--enable-multivalue",
        "--enable-threads",
    ]);
    process::run(&mut command)?;
    files::rename(&optimised, module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_version_finds_one_version_or_says_why_not() {
        struct Case {
            lock: &'static str,
            expected: std::result::Result<&'static str, &'static str>,
        }
        let cases = [
            Case { lock: "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\nsource = \"x\"\n", expected: Ok("1.2.3") },
            Case { lock: "[[package]]\nname = \"a-b\"\nversion = \"1.2.3\"\n", expected: Err("holds no a") },
            Case {
                lock: "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n",
                expected: Err("several versions of a"),
            },
        ];
        for case in cases {
            match (locked_version(case.lock, "a"), case.expected) {
                (Ok(version), Ok(expected)) => assert_eq!(version, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (result, expected) => panic!("{result:?} for {expected:?}"),
            }
        }
    }
}
