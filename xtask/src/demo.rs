//! `cargo xtask demo`: the demo site, from nothing to a page in the browser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::serve::{AddressOptions, Server};
use crate::wasm::Variant;
use crate::{files, models, process};

#[derive(Args)]
pub struct Options {
    /// Optimise the engine for speed and size (takes minutes)
    #[arg(long)]
    release: bool,
    /// Leave the site in www/dist without serving it
    #[arg(long)]
    no_serve: bool,
    #[command(flatten)]
    address: AddressOptions,
}

pub fn run(options: &Options) -> Result<()> {
    models::fetch(models::Purpose::Demo)?;
    // Only pages that are isolated take the modules for threads; a release may be put on any host.
    let with_threads = options.release || options.address.isolated;
    let variant = if with_threads { Variant::ALL.to_vec() } else { Variant::UNTHREADED.to_vec() };
    build::run(&build::Options { release: options.release, variant, selftest: false })?;
    let folder = assemble()?;
    if options.no_serve {
        println!("The site is in {}", folder.display());
        return Ok(());
    }
    let server = Server::start(&folder, &options.address)?;
    println!("\n  Open {} (Ctrl+C ends it)\n", server.address);
    server.wait()
}

/// Puts the page, the package and the models together in www/dist, which any static host can serve.
pub fn assemble() -> Result<PathBuf> {
    let page = process::root().join("www");
    let folder = page.join("dist");
    let mut wanted = BTreeMap::new();
    add(&mut wanted, "", &page, &["dist", "node_modules"])?;
    add(&mut wanted, "sottovoce", &process::root().join("pkg/dist"), &[])?;
    for place in models::places(models::Purpose::Demo) {
        let place = Path::new("models").join(place);
        wanted.insert(place.clone(), process::root().join(place));
    }
    files::mirror(&folder, &wanted)?;
    Ok(folder)
}

fn add(wanted: &mut BTreeMap<PathBuf, PathBuf>, place: &str, folder: &Path, skip: &[&str]) -> Result<()> {
    for file in files::list(folder, skip)? {
        wanted.insert(Path::new(place).join(&file), folder.join(file));
    }
    Ok(())
}
