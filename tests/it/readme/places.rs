//! Links, paths and targets that pages name are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{code_spans, commands, pages, root, text};

/// The anchor that a heading has on the usual sites.
pub fn anchor(heading: &str) -> String {
    let kept = heading.trim_matches(['#', ' ']).to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

pub fn anchors(page: &str) -> BTreeSet<String> {
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut links = 0;
    for (path, page) in &pages {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { root().join(path) } else { root().join(folder).join(file) };
            assert!(file.exists(), "{path}: {target} leads nowhere");
            if !place.is_empty() {
                let there = fs::read_to_string(&file).expect("a page");
                assert!(anchors(&there).contains(place), "{path}: no heading for {target}");
            }
        }
    }
    assert!(links > 8, "only {links} links were found");
}

#[test]
fn paths_that_pages_name_exist() {
    let folders =
        ["src/", "tests/", "docs/", "deploy/", "config/", "examples/", "benches/", "fuzz/", ".ci/"];
    for (path, page) in pages() {
        for span in code_spans(&page) {
            let file = span.split([':', ' ']).next().unwrap_or_default();
            if folders.iter().any(|folder| file.starts_with(folder)) && !file.contains(['*', '{']) {
                assert!(root().join(file).exists(), "{path}: there is no {file}");
            } else if file.ends_with(".rs") {
                assert!(root().join("src").join(file).exists(), "{path}: there is no src/{file}");
            }
        }
    }
}

#[test]
fn the_make_targets_that_pages_name_exist() {
    let makefile = text("Makefile");
    let mut named = 0;
    for (path, page) in pages() {
        let indented = page.lines().filter(|line| line.starts_with("    make")).map(str::trim);
        let shown = commands(&page).into_iter().chain(code_spans(&page));
        for command in shown.chain(indented.map(str::to_owned)) {
            let Some(rest) = command.strip_prefix("make ") else { continue };
            // What is quoted are the arguments of a target.
            let unquoted: String = rest.split(['"', '\'']).step_by(2).collect();
            let words = unquoted.split([' ', ';']).take_while(|word| *word != "#");
            for target in words.filter(|word| !word.is_empty() && !word.contains('=')) {
                named += 1;
                assert!(makefile.contains(&format!("\n{target}: ## ")), "{path}: make {target}");
            }
        }
    }
    assert!(named > 4, "only {named} targets were found");
}
