//! `tenants_dir`: a folder in which each file is one tenant.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::layers::{self, Node, Value};
use super::mistake::{Mistake, Mistakes, Place, Wrong};
use super::secret::said;

/// What the files of a folder hold, in the order of their names.
#[derive(Default)]
pub(super) struct Folder {
    /// Each with the name of its file, at whose first line it stands.
    pub tenants: Vec<(String, Node)>,
    /// Of files that cannot be read.
    pub mistakes: Vec<Mistake>,
}

/// Reads a folder. Only what ends in `.toml` is a tenant, and nothing that is hidden: `..data` is how
/// Kubernetes mounts a ConfigMap, `.#acme.toml` what an editor leaves. Links are followed.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn read(folder: &Path) -> Result<Folder, Wrong> {
    let unreadable = |error: io::Error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound => "no such folder".to_owned(),
            io::ErrorKind::NotADirectory => "it is no folder".to_owned(),
            kind => kind.to_string(),
        };
        let what = format!("cannot read {}: {what}", folder.display());
        Wrong::new(what, "name a folder that callvault may read, or leave it empty")
    };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let names = entries.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    names.retain(|name| is_tenant(name));
    names.sort();
    let mut read = Folder::default();
    for name in names {
        match tenant(&folder.join(&name)) {
            Ok(node) => read.tenants.push((name.display().to_string(), node)),
            Err(mistakes) => read.mistakes.extend(mistakes),
        }
    }
    Ok(read)
}

fn is_tenant(name: &Path) -> bool {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    !hidden && name.extension() == Some(OsStr::new("toml"))
}

fn tenant(path: &Path) -> Result<Node, Vec<Mistake>> {
    let file = path.display().to_string();
    let place = Place::File { file: file.as_str().into(), line: 1 };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("cannot be read: {}", said(error.kind()));
        let wrong = Wrong::new(what, "let callvault read it, or take it out of tenants_dir");
        vec![Mistake::new("", Some(place.clone()), wrong)]
    })?;
    let all = |mistakes: Mistakes| mistakes.iter().cloned().collect::<Vec<_>>();
    let table = layers::parse(&file, &text).map_err(all)?;
    Ok(Node { value: Value::Table(table), place })
}
