//! docs/RELIABILITY.md: each promise has its tests, and every trouble of the driver stands there.

use super::statements::is_a_test;
use super::{code_spans, text};
use crate::all_troubles::driver::troubles;

/// The rows of the table in a section: cells, trimmed.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = text("docs/RELIABILITY.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let cells = row.trim().trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    // The heading of the table, and the line below it.
    rows.skip(2).map(cells).collect()
}

#[test]
fn every_promise_has_tests_that_are_there() {
    let promises = rows("Promises");
    assert_eq!(promises.len(), 9);
    for promise in promises {
        let [name, how, tests] = &promise[..] else { panic!("three cells: {promise:?}") };
        assert!(!how.is_empty(), "{name}");
        let tests = code_spans(tests);
        assert!(!tests.is_empty(), "{name}: no test");
        tests.iter().for_each(|test| is_a_test(test, name));
    }
}

#[test]
fn every_trouble_stands_there_as_the_driver_has_it() {
    let told: Vec<_> = rows("Troubles").into_iter().map(|row| row[..2].join(" | ")).collect();
    let made = troubles::all().chain(troubles::of_a_cluster());
    let made = made.map(|trouble| format!("`{}` | {}", trouble.name, trouble.about));
    assert_eq!(told, made.collect::<Vec<_>>());
}
