//! No circle of imports: every file can be read with what stands below it alone.
//!
//! A module and its parts are one thing here: a part may use what its whole defines, and the whole
//! what its parts do. What a module only hands on counts as an import of where it comes from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// The name of a module, a part of its path each; of the crate's root, none.
type Module = Vec<String>;

/// The code of each file of a crate.
type Files = BTreeMap<Module, String>;

#[test]
fn files_import_each_other_in_no_circle() {
    for crate_of in ["src", "benches/throughput", "benches/limits", "fuzz/src"] {
        let mut files = Files::new();
        gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join(crate_of), &[], &mut files);
        assert!(files.len() > 2, "{crate_of} has files");
        assert_eq!(circle(&imports(&files)), None, "a circle in {crate_of}");
    }
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let house = |files: &[(&str, &str)]| -> Files {
        let module = |path: &str| path.split('/').map(str::to_owned).collect();
        files.iter().map(|(path, code)| (module(path), (*code).to_owned())).collect()
    };
    let circles = [
        house(&[("a", "use crate::b::B;"), ("b", "use super::a::A;")]),
        house(&[("a", "use crate::{c, b::{self, B as Bee}};"), ("b", "fn f() -> crate::a::A {}")]),
        // Through a face, and over three files.
        house(&[
            ("a", "mod one; mod two; pub use one::One;"),
            ("a/one", "use super::two::Two;"),
            ("a/two", "use crate::b::*;"),
            ("b", "use crate::a::One;"),
        ]),
    ];
    for files in &circles {
        assert!(circle(&imports(files)).is_some(), "{files:?}");
    }
    let good = house(&[
        ("a", "mod one; mod two; pub use one::One; use two::Two; pub struct A;"),
        ("a/one", "use super::{A, two::Two};"),
        ("a/two", "use super::A; use std::fmt; use serde::a::A;"),
        ("b", "use crate::a::{A, One};"),
    ]);
    assert_eq!(circle(&imports(&good)), None);
}

/// The files of a folder but for tests, each as code alone.
fn gather(folder: &Path, module: &[String], files: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry of it").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("our names are UTF-8");
        let part = [module, &[stem.to_owned()]].concat();
        if stem == "tests" {
            continue;
        } else if path.is_dir() {
            gather(&path, &part, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let whole = matches!(stem, "mod" | "lib" | "main");
            let text = fs::read_to_string(&path).expect("it can be read");
            files.entry(if whole { module.to_vec() } else { part }).or_insert(code(&text));
        }
    }
}

/// Without comments, and without the tests that stand at a file's end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What each file imports.
fn imports(files: &Files) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut faces = BTreeMap::new();
    // Twice, since a face may hand on what another does.
    for _ in 0..2 {
        for (module, code) in files {
            for text in code.split("pub use ").skip(1) {
                for path in tree(text, &[]).0 {
                    let name = path.last().expect("a path has a part").clone();
                    if let Some(from) = resolve(files, &faces, module, &path) {
                        faces.insert((module.clone(), name), from);
                    }
                }
            }
        }
    }
    let part_of = |one: &Module, other: &Module| one.starts_with(other) || other.starts_with(one);
    let of = |(module, code): (&Module, &String)| {
        let targets =
            paths(code).into_iter().filter_map(|path| resolve(files, &faces, module, &path));
        (module.clone(), targets.filter(|target| !part_of(target, module)).collect())
    };
    files.iter().map(of).collect()
}

/// The paths in some code that may lead into its own crate.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["use ", "crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            let begins = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
            if begins {
                let at = if start == "use " { at + start.len() } else { at };
                found.extend(tree(&code[at..], &[]).0);
            }
        }
    }
    found
}

/// The paths of a tree such as `a::{b, c::{d, e as f}}`, and what comes after it.
fn tree<'a>(text: &'a str, before: &[String]) -> (Vec<Module>, &'a str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n']);
            match rest.strip_prefix('}') {
                Some(rest) => return (paths, rest),
                None if rest.is_empty() => return (paths, rest),
                None => {}
            }
            let (found, after) = tree(rest, before);
            paths.extend(found);
            // What is no path is passed over.
            let next = rest.chars().next().map_or(0, char::len_utf8);
            rest = if after.len() < rest.len() { after } else { &rest[next..] };
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let path = match word {
        "" | "self" if !before.is_empty() => before.to_vec(),
        word => [before, &[word.to_owned()]].concat(),
    };
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(rest, &path);
    }
    let rest = rest.strip_prefix('*').unwrap_or(rest);
    let renamed = rest.strip_prefix(" as ");
    (vec![path], renamed.map_or(rest, |rest| rest.trim_start_matches(char::is_alphanumeric)))
}

/// The file that a path in `module` leads to; `None`: out of the crate, or to its root.
fn resolve(
    files: &Files,
    faces: &BTreeMap<(Module, String), Module>,
    module: &Module,
    path: &[String],
) -> Option<Module> {
    let (first, mut rest) = path.split_first()?;
    let mut at = module.clone();
    match first.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop();
            while let Some((_, after)) = rest.split_first().filter(|(word, _)| *word == "super") {
                at.pop();
                rest = after;
            }
        }
        part if files.contains_key(&[module, &[part.to_owned()][..]].concat()) => rest = path,
        _ => return None,
    }
    for part in rest {
        let below = [&at[..], std::slice::from_ref(part)].concat();
        if files.contains_key(&below) {
            at = below;
        } else if let Some(from) = faces.get(&(at.clone(), part.clone())) {
            at = from.clone();
        } else {
            break;
        }
    }
    (!at.is_empty()).then_some(at)
}

/// A shortest circle, as people read it.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<String> {
    let circles = imports.keys().filter_map(|start| {
        let mut ways = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in imports.get(*way.last()?)? {
                if next == start {
                    return Some([way, vec![start]].concat());
                }
                if seen.insert(next) {
                    ways.push_back([way.clone(), vec![next]].concat());
                }
            }
        }
        None
    });
    let shortest = circles.min_by_key(Vec::len)?;
    let names: Vec<_> = shortest.iter().map(|module| module.join("/")).collect();
    Some(names.join(" → "))
}
