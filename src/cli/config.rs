//! `callvault config`: the effective configuration with its sources, secrets masked.

use crate::config::{EffectiveSection, Loaded, Row, Source};

/// The configuration as TOML, each value with a comment that says where it came from.
///
/// Secrets are `***`, so the text can be shown; it can be loaded again once they are filled in.
pub fn run(loaded: &Loaded) -> String {
    let sections = &loaded.effective.sections;
    // They stand below: read again with the folder, they would be there twice.
    let folded = loaded.config.tenants_dir.is_some() && !loaded.config.tenants.is_empty();
    let lines = |section: &EffectiveSection| -> Vec<String> {
        let mark = if folded && section.header.is_empty() { "# " } else { "" };
        section.rows.iter().map(|row| format!("{mark}{}", assignment(row))).collect()
    };
    let assignments: Vec<_> = sections.iter().map(lines).collect();
    // One column for all comments, but for the few values that are longer than most.
    let widths = assignments.iter().flatten().map(|text| text.chars().count());
    let column = widths.filter(|width| *width <= 60).max().unwrap_or(0);

    let mut out = String::new();
    for (section, assignments) in sections.iter().zip(assignments) {
        if !out.is_empty() {
            out.push('\n');
        }
        if !section.header.is_empty() {
            out += &section.header;
            out.push('\n');
        }
        for (row, assignment) in section.rows.iter().zip(assignments) {
            out += &format!("{assignment:column$}  # {}\n", comment(row));
        }
    }
    for warning in &loaded.warnings {
        out += &format!("\n# warning: {warning}\n");
    }
    out
}

fn assignment(row: &Row) -> String {
    match &row.value {
        Some(value) => format!("{} = {value}", row.key),
        None => format!("# {}", row.key),
    }
}

fn comment(row: &Row) -> String {
    match (&row.source, &row.default) {
        (Source::Default | Source::Tenants, _) | (_, None) => row.source.to_string(),
        (source, Some(default)) if default == "\"\"" => source.to_string(),
        (source, default) if *default == row.value => source.to_string(),
        (source, Some(default)) => format!("{source}, default {default}"),
    }
}
