//! The sabotaged builds of tests/sabotage can be built and found out: their patches apply, the tests
//! they name are there, and docs/RELIABILITY.md tells of each.

use std::fs;
use std::path::Path;
use std::process::Command;

struct Sabotage {
    file: String,
    title: String,
    /// The tests that have to turn red.
    red: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sabotages() -> Vec<Sabotage> {
    let folder = fs::read_dir(root().join("tests/sabotage")).expect("the folder is there");
    let paths = folder.map(|entry| entry.expect("an entry of it").path());
    let patches = paths.filter(|path| path.extension().is_some_and(|kind| kind == "patch"));
    let mut sabotages: Vec<_> = patches
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a patch");
            let (head, _) = text.split_once("\n\n").expect("a head, then the patch");
            let red = head.lines().filter_map(|line| line.strip_prefix("Red: "));
            Sabotage {
                file: path.file_name().expect("its name").to_string_lossy().into_owned(),
                title: head.lines().next().expect("a title").to_owned(),
                red: red.map(str::to_owned).collect(),
            }
        })
        .collect();
    sabotages.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(sabotages.len() >= 8, "only {} were found", sabotages.len());
    sabotages
}

#[test]
fn every_sabotage_still_applies() {
    for Sabotage { file, .. } in sabotages() {
        let mut apply = Command::new("git");
        apply.args(["apply", "--check"]).arg(Path::new("tests/sabotage").join(&file));
        // Inside another repository git would skip what is not below the current folder's path.
        apply.current_dir(root()).env("GIT_CEILING_DIRECTORIES", root().parent().unwrap());
        let output = apply.output().expect("git runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {told}");
    }
}

#[test]
fn every_test_that_a_sabotage_names_exists() {
    let own = std::env::current_exe().expect("a process knows its program");
    let output = Command::new(own).args(["--list", "--format", "terse"]).output();
    let list = String::from_utf8(output.expect("the tests can be listed").stdout).unwrap();
    for Sabotage { file, red, .. } in sabotages() {
        assert!(!red.is_empty(), "{file} names no test");
        for test in red {
            let there = list.lines().any(|line| line.strip_suffix(": test") == Some(&test));
            assert!(there, "{file}: there is no test {test}");
        }
    }
}

#[test]
fn the_page_tells_of_every_sabotage() {
    let page = fs::read_to_string(root().join("docs/RELIABILITY.md")).expect("the page is there");
    let (_, section) = page.split_once("\n## Sabotaged builds\n").expect("its section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let sabotages = sabotages();
    assert_eq!(rows.len(), sabotages.len(), "a row for each");
    for (row, Sabotage { title, red, .. }) in rows.iter().zip(&sabotages) {
        assert!(row.starts_with(&format!("| {title} | ")), "{title}: {row}");
        for test in red {
            assert!(row.contains(&format!("`{test}`")), "{title}: `{test}` is missing");
        }
    }
}
