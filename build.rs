//! Tells the crate what it is built from: artefacts of one build are of no use to another.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Where the sources are.
const FOLDERS: [&str; 2] = ["base/src", "src"];

fn main() -> io::Result<()> {
    let mut files = vec![PathBuf::from("Cargo.lock")];
    for folder in FOLDERS {
        add_sources(Path::new(folder), &mut files)?;
        println!("cargo::rerun-if-changed={folder}");
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        // The separators differ between systems, the build does not.
        file.iter().for_each(|part| part.to_string_lossy().hash(&mut hasher));
        fs::read(&file)?.hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=SOTTOVOCE_SOURCES={:016x}", hasher.finish());
    Ok(())
}

fn add_sources(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
