//! `deploy/least-privilege`: each user can do its work, is refused that of others, and needs each of its
//! rights, as the page there says.

mod broker;
mod rights;
mod store;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/least-privilege");
    let path = folder.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The rows of the page whose table has these columns first, as the code in them.
fn rows<const N: usize>(columns: [&str; N]) -> BTreeSet<[String; N]> {
    let page = text("README.md");
    let head = format!("| {} |", columns.join(" | "));
    let table = page.lines().skip_while(|line| !line.starts_with(&head)).skip(2);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split(" | ").take(N);
        let bare = |cell: &str| match cell.trim().strip_prefix('[') {
            Some(link) => link.split(']').next().unwrap_or_default().to_owned(),
            None => cell.trim().trim_matches('`').to_owned(),
        };
        let cells: Vec<_> = cells.map(bare).collect();
        cells.try_into().unwrap_or_else(|_| panic!("fewer than {N} columns: {line}"))
    };
    let rows: BTreeSet<_> = table.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table {head}");
    rows
}
