//! Hashing, placing and mirroring files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{archive, process};

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a file, or `None` where there is no file.
pub fn sha256_of(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(sha256(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} could not be read", path.display())),
    }
}

/// Writes a file so that it is there whole or not at all, creating its folders. One that holds `bytes` already is left alone.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    create_parent(path)?;
    fs::write(&partial, bytes).with_context(|| format!("{} could not be written", partial.display()))?;
    rename(&partial, path)
}

/// Moves a file to its place, creating its folders.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    create_parent(to)?;
    fs::rename(from, to).with_context(|| format!("{} could not be placed", to.display()))
}

/// Removes a folder with all that it holds; one that is not there is no error.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} could not be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Unpacks the archives of tests/fixtures that changed, so that pages find what they hold.
pub fn unpack_fixtures() -> Result<()> {
    for name in ["exports", "nodes", "malformed", "models"] {
        archive::unpacked(&process::root().join("tests/fixtures"), name)
            .with_context(|| format!("the fixtures `{name}` could not be unpacked"))?;
    }
    Ok(())
}

/// Every file below `folder`, by its path relative to it. Entries of `folder` itself that are named in `skip` are left out.
pub fn list(folder: &Path, skip: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let entries = fs::read_dir(folder.join(&relative))
            .with_context(|| format!("{} could not be listed", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if relative.as_os_str().is_empty() && skip.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Makes `folder` hold exactly `wanted` (path in the folder → file to copy): copies what changed, removes the rest.
pub fn mirror(folder: &Path, wanted: &BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    fs::create_dir_all(folder)?;
    for present in list(folder, &[])? {
        if !wanted.contains_key(&present) {
            fs::remove_file(folder.join(present))?;
        }
    }
    for (place, source) in wanted {
        copy_if_changed(source, &folder.join(place))?;
    }
    Ok(())
}

/// A copy carries its source's length and time of change, so that equal ones need not be read.
fn copy_if_changed(source: &Path, copy: &Path) -> Result<()> {
    let stamp = |path: &Path| fs::metadata(path).and_then(|data| Ok((data.len(), data.modified()?)));
    let wanted = stamp(source).with_context(|| format!("{} could not be read", source.display()))?;
    if stamp(copy).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    create_parent(copy)?;
    fs::copy(source, copy).with_context(|| format!("{} could not be copied", source.display()))?;
    File::options().write(true).open(copy)?.set_modified(wanted.1)?;
    Ok(())
}

fn create_parent(path: &Path) -> Result<()> {
    let parent = path.parent().expect("a file has a folder");
    fs::create_dir_all(parent).with_context(|| format!("{} could not be created", parent.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An empty folder of this test's own.
    pub fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sottovoce-xtask-{name}-{}", std::process::id()));
        remove_folder(&folder).expect("removed");
        fs::create_dir_all(&folder).expect("created");
        folder
    }

    #[test]
    fn sha256_matches_the_published_vectors() {
        // FIPS 180-4 example values.
        let cases = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (text, expected) in cases {
            assert_eq!(sha256(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_mirror_copies_what_changed_and_removes_what_is_gone() {
        let folder = scratch("mirror");
        let (source, copy) = (folder.join("source"), folder.join("copy"));
        write_atomically(&source.join("a/one.txt"), b"one").expect("written");
        write_atomically(&source.join("skipped/two.txt"), b"two").expect("written");
        write_atomically(&copy.join("old/three.txt"), b"three").expect("written");
        let wanted = |folder: &Path| -> BTreeMap<PathBuf, PathBuf> {
            list(folder, &["skipped"])
                .expect("listed")
                .into_iter()
                .map(|path| (path.clone(), folder.join(path)))
                .collect()
        };
        mirror(&copy, &wanted(&source)).expect("mirrored");
        assert_eq!(list(&copy, &[]).expect("listed"), [Path::new("a/one.txt")]);

        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
        write_atomically(&source.join("a/one.txt"), b"ONE").expect("written");
        File::options().write(true).open(source.join("a/one.txt")).expect("opened").set_modified(later).expect("set");
        mirror(&copy, &wanted(&source)).expect("mirrored");
        assert_eq!(fs::read(copy.join("a/one.txt")).expect("read"), b"ONE");
        remove_folder(&folder).expect("removed");
    }
}
