//! External data: weights in files beside the model. A model names them by paths relative to its own folder; nothing else is
//! ever opened for it.

use super::index::{ModelIndex, Place};
use crate::error::{Error, Result};
use crate::onnx::pb::{self, tensor_proto::DataLocation};
use std::collections::HashSet;

/// The one spelling of a path that a model names: components joined by `/`, none of them `.`.
///
/// # Errors
/// `InvalidModel` for a path that is empty, absolute, leads out of the folder, or means different files on different systems.
pub fn external_path(location: &str) -> Result<String> {
    let refused = |why: &str| {
        Error::invalid_model(format!("external data at `{location}`: {why}"))
            .remedy("export the model with its weights in a file beside it, or inside it")
    };
    if location.contains(['\\', ':', '\0']) {
        return Err(refused("not a relative path"));
    }
    if location.starts_with('/') {
        return Err(refused("an absolute path"));
    }
    let components: Vec<&str> = location.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if components.contains(&"..") {
        return Err(refused("the path leads out of the model's folder"));
    }
    if components.is_empty() || location.ends_with('/') {
        return Err(refused("the path names no file"));
    }
    Ok(components.join("/"))
}

impl ModelIndex {
    /// The files beside the model that its weights lie in, each once, in the order in which the model names them.
    ///
    /// # Errors
    /// `InvalidModel` for a path that [`external_path`] refuses.
    pub fn external_paths(&self) -> Result<Vec<String>> {
        let (mut paths, mut known) = (Vec::new(), HashSet::new());
        let mut add = |path: String| {
            if known.insert(path.clone()) {
                paths.push(path);
            }
        };
        for initializer in &self.initializers {
            if let Place::External { path, .. } = &initializer.place {
                add(path.clone());
            }
        }
        if let Some(graph) = &self.model.graph {
            let outside = |tensor: &&pb::TensorProto| tensor.data_location == Some(DataLocation::External as i32);
            for tensor in nested_tensors(graph).into_iter().filter(outside) {
                if let Some(location) = tensor.external_data.iter().find(|entry| entry.key == "location") {
                    add(external_path(&location.value).map_err(|error| error.tensor(&*tensor.name))?);
                }
            }
        }
        Ok(paths)
    }
}

/// Tensors of a graph's attributes and of its subgraphs.
fn nested_tensors(graph: &pb::GraphProto) -> Vec<&pb::TensorProto> {
    let mut tensors: Vec<&pb::TensorProto> = graph.initializer.iter().collect();
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        tensors.extend(attribute.t.iter().chain(&attribute.tensors));
        attribute.g.iter().chain(&attribute.graphs).for_each(|subgraph| tensors.extend(nested_tensors(subgraph)));
    }
    tensors
}

#[cfg(not(target_arch = "wasm32"))]
pub use on_disk::external_files;

#[cfg(not(target_arch = "wasm32"))]
mod on_disk {
    use super::super::{ExternalFile, FileSource, ReadAt, index};
    use crate::error::{Error, Result};
    use std::path::{Path, PathBuf};

    /// The files beside a model on disk that its weights lie in.
    ///
    /// # Errors
    /// What [`index`] gives; `InvalidModel` for a path that leads out of the model's folder, also by a link; `NetworkError` for
    /// a file that cannot be read.
    pub fn external_files(model: &Path) -> Result<Vec<ExternalFile>> {
        let again = "the model is corrupted or written wrongly: fetch or export it again";
        let paths = index(&FileSource::open(model)?).and_then(|index| index.external_paths());
        let paths = paths.map_err(|error| {
            let error = error.file(display(model));
            if error.remedy.is_none() { error.remedy(again) } else { error }
        })?;
        let folders = folders(model)?;
        let open = |path: String| {
            let source = Box::new(FileBeside::find(&folders, &path)?);
            Ok(ExternalFile { path, source })
        };
        paths.into_iter().map(open).collect()
    }

    /// The folder that the model is addressed in and, where that is a link, the one that it really lies in.
    fn folders(model: &Path) -> Result<[PathBuf; 2]> {
        let parent = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        let addressed = parent(model);
        let addressed = if addressed.as_os_str().is_empty() { Path::new(".") } else { &addressed };
        Ok([real(addressed)?, parent(&real(model)?)])
    }

    fn real(path: &Path) -> Result<PathBuf> {
        path.canonicalize().map_err(|error| {
            Error::network(format!("the file cannot be read: {error}"))
                .file(display(path))
                .remedy("put the file with the weights beside the model, under the name that the model gives it")
        })
    }

    fn display(path: &Path) -> String {
        path.display().to_string()
    }

    /// A file that is opened for each read, since a model may name more files than a process may hold open.
    struct FileBeside {
        path: PathBuf,
        name: String,
        len: u64,
    }

    impl FileBeside {
        fn find(folders: &[PathBuf; 2], path: &str) -> Result<FileBeside> {
            let path = real(&folders[0].join(path))?;
            if !folders.iter().any(|folder| path.starts_with(folder)) {
                return Err(Error::invalid_model("external data leads out of the model's folder by a link")
                    .file(display(&path))
                    .remedy("put the file itself beside the model"));
            }
            let len = FileSource::open(&path)?.len();
            Ok(FileBeside { name: display(&path), path, len })
        }
    }

    impl ReadAt for FileBeside {
        fn name(&self) -> &str {
            &self.name
        }

        fn len(&self) -> u64 {
            self.len
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            FileSource::open(&self.path)?.read_at(offset, buffer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn paths_stay_in_the_folder() {
        let cases = [
            ("weights", Some("weights")),
            ("9694ec5c-e76a", Some("9694ec5c-e76a")),
            ("./sub//weights.bin", Some("sub/weights.bin")),
            ("...", Some("...")),
            ("", None),
            (".", None),
            ("sub/", None),
            ("/etc/passwd", None),
            ("../weights", None),
            ("sub/../../weights", None),
            ("sub/..", None),
            ("C:\\weights", None),
            ("..\\weights", None),
            ("http://127.0.0.1/weights", None),
            ("weights\0.bin", None),
        ];
        for (location, expected) in cases {
            let path = external_path(location).map_err(|error| error.code);
            assert_eq!(path, expected.map(str::to_string).ok_or(ErrorCode::InvalidModel), "{location}");
        }
    }

    #[cfg(unix)]
    fn model(location: &str) -> Vec<u8> {
        let entry = pb::StringStringEntryProto { key: "location".into(), value: location.into() };
        let data_location = Some(DataLocation::External as i32);
        let weight =
            pb::TensorProto { name: "w".into(), data_location, external_data: vec![entry], ..Default::default() };
        let graph = pb::GraphProto { initializer: vec![weight], ..Default::default() };
        let model = pb::ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() };
        prost::Message::encode_to_vec(&model)
    }

    #[cfg(unix)]
    #[test]
    fn files_beside_the_model() {
        use std::os::unix::fs::symlink;

        let folder = std::env::temp_dir().join(format!("sottovoce-external-{}", std::process::id()));
        let own = folder.join("own");
        std::fs::create_dir_all(own.join("sub")).unwrap();
        std::fs::write(folder.join("secret"), [1; 4]).unwrap();
        std::fs::write(own.join("sub/weights"), [1; 4]).unwrap();
        symlink(folder.join("secret"), own.join("out")).unwrap();
        symlink("sub/weights", own.join("in")).unwrap();
        symlink(&folder, own.join("up")).unwrap();
        let cases = [
            ("sub/weights", None),
            ("in", None),
            ("out", Some(ErrorCode::InvalidModel)),
            ("up/secret", Some(ErrorCode::InvalidModel)),
            ("../secret", Some(ErrorCode::InvalidModel)),
            ("sub", Some(ErrorCode::NetworkError)),
            ("missing", Some(ErrorCode::NetworkError)),
        ];
        for (location, expected) in cases {
            std::fs::write(own.join("model.onnx"), model(location)).unwrap();
            let files = external_files(&own.join("model.onnx"));
            assert_eq!(files.as_ref().err().map(|error| error.code), expected, "{location}");
            for file in files.into_iter().flatten() {
                let mut bytes = [0; 4];
                file.source.read_at(0, &mut bytes).unwrap();
                assert_eq!((&*file.path, bytes), (location, [1; 4]));
            }
        }
        // A model that is itself a link may use what lies beside the file that it leads to.
        std::fs::remove_file(own.join("model.onnx")).unwrap();
        std::fs::write(folder.join("real.onnx"), model("out")).unwrap();
        symlink("../real.onnx", own.join("model.onnx")).unwrap();
        assert_eq!(external_files(&own.join("model.onnx")).unwrap().len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
