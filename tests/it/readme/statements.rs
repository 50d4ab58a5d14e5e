//! The tables of docs/CCFS.md: each statement of the vendor has its code and its test.

use super::{code_spans, text};

/// The rows of the tables of docs/CCFS.md: what is said, where it is kept, what shows it.
fn statements() -> Vec<[String; 3]> {
    let page = text("docs/CCFS.md");
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    rows.filter(|row| !row.starts_with("| statement "))
        .map(|row| {
            let cells: Vec<_> = row.trim().trim_matches('|').split(" | ").collect();
            let cells = cells.into_iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
            cells.try_into().unwrap_or_else(|_| panic!("three cells: {row}"))
        })
        .collect()
}

#[test]
fn every_statement_of_the_vendor_is_kept_and_tested() {
    let statements = statements();
    assert!(statements.len() > 50, "only {} rows were found", statements.len());
    for [statement, kept, tests] in statements {
        if kept.starts_with("not ours: ") {
            assert!(tests.len() > 1 || tests == "–", "{statement}: a test or a dash");
        } else {
            assert!(!code_spans(&kept).is_empty(), "{statement}: no path");
            assert!(!code_spans(&tests).is_empty(), "{statement}: no test");
        }
        for place in code_spans(&kept).iter().filter(|span| span.contains('/')) {
            let (file, item) = place.split_once("::").unwrap_or_else(|| panic!("no item: {place}"));
            let code = text(file);
            let word = |c: char| !c.is_alphanumeric() && c != '_';
            assert!(
                code.split(word).any(|found| found == item),
                "{statement}: no {item} in {file}"
            );
        }
        for test in code_spans(&tests) {
            is_a_test(&test, &statement);
        }
    }
}

/// A test that a page names as `path::name` is there.
pub fn is_a_test(test: &str, of: &str) {
    let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("no name: {test}"));
    let code = text(file);
    let (before, _) = code
        .split_once(&format!("fn {name}("))
        .unwrap_or_else(|| panic!("{of}: no test {name} in {file}"));
    let attribute = |line: &str| line.trim().starts_with("#[") && line.contains("test");
    assert!(before.lines().rev().take(3).any(attribute), "{name} is no test");
}
