//! The archives of tests/fixtures, unpacked for whoever reads them: these tests, the browser, the command line.

use std::fs::{self, File};
use std::io::{self, BufReader, Error};
use std::path::{Path, PathBuf};

/// The folder with what the archive `NAME.tar.xz` of the folder `fixtures` holds; unpacks it unless that was done.
pub fn unpacked(fixtures: &Path, name: &str) -> io::Result<PathBuf> {
    let archive = fixtures.join(format!("{name}.tar.xz"));
    let folder = fixtures.join("unpacked").join(name);
    let identity = identity(&archive).map_err(|error| Error::other(format!("{}: {error}", archive.display())))?;
    let stamp = folder.with_extension("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == identity) {
        return Ok(folder);
    }
    let partial = folder.with_extension(format!("{}.partial", std::process::id()));
    fs::create_dir_all(&partial)?;
    let compressed = BufReader::new(File::open(&archive)?);
    tar::Archive::new(lzma_rust2::XzReader::new(compressed, false)).unpack(&partial)?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(&partial, &folder)?;
    fs::write(&stamp, identity)?;
    Ok(folder)
}

/// Changes whenever the archive does.
fn identity(archive: &Path) -> io::Result<String> {
    let metadata = fs::metadata(archive)?;
    let since = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).map_err(Error::other)?;
    Ok(format!("{} {}", metadata.len(), since.as_nanos()))
}
