//! What the pages say is true: commands run, blocks load, links lead somewhere, codes are listed.

mod conflict;
mod examples;
pub mod places;
mod reliability;
mod runbook;
mod sessions;
mod statements;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page of the repository, by its path in it.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the repository") {
            let entry = entry.expect("an entry of it");
            let name = entry.file_name().into_string().expect("our names are UTF-8");
            let path = folder.join(&name);
            let ours = !name.starts_with('.') && name != "target" && name != "node_modules";
            if entry.path().is_dir() && ours {
                folders.push(path);
            } else if name.ends_with(".md") {
                let path = path.display().to_string();
                pages.insert(path.clone(), text(&path));
            }
        }
    }
    assert!(pages.contains_key("README.md") && pages.contains_key("docs/OPERATIONS.md"));
    pages
}

/// What is set off as code in a language: ```` ```toml ````.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let after = page.split(&fence).skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// `code` in running text and tables, without fenced blocks.
fn code_spans(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The shell commands of a page, comments dropped, continued lines joined.
pub fn commands(page: &str) -> Vec<String> {
    let lines: String = blocks(page, "sh").concat().replace("\\\n", " ");
    let bare = lines.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    bare.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}
