//! What was found once stays found: every kept file goes through its target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use callvault_fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_file_passes_its_target() {
    for (name, check) in TARGETS {
        let files = entries(&corpus().join(name));
        assert!(files.len() > 5, "{name} has {} files", files.len());
        for file in files {
            // Told by the harness only where one fails.
            println!("{}", file.display());
            check(&fs::read(&file).expect("a readable file"));
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    let kept = entries(&corpus());
    let kept = kept.iter().filter_map(|path| path.file_name()?.to_str());
    let known = TARGETS.iter().map(|(name, _)| *name);
    assert_eq!(kept.collect::<BTreeSet<_>>(), known.collect());
}
