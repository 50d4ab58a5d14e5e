//! docs/MESSAGES.md: its examples, its tables of fields, keys and columns.

use std::collections::{BTreeMap, BTreeSet};

use callvault::index::{By, Index};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{IN, OUT, Schema, text};
use crate::cli::{Desk, LEAST};

fn page() -> String {
    text("docs/MESSAGES.md")
}

/// The text under a heading, up to the next one of any level.
fn section(heading: &str) -> String {
    let page = page();
    let start = format!("\n{heading}\n");
    let (_, section) = page.split_once(&start).unwrap_or_else(|| panic!("no {heading}"));
    section.split("\n#").next().unwrap_or_default().to_owned()
}

/// The tables of a text by the head of their first column, each row as its cells.
fn tables(text: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables = BTreeMap::new();
    let mut head = None;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            head = None;
            continue;
        };
        let cells: Vec<_> =
            row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        match &head {
            None => {
                head = Some(cells[0].clone());
                tables.insert(cells[0].clone(), Vec::new());
            }
            Some(_) if cells[0].starts_with("---") => {}
            Some(head) => tables.entry(head.clone()).or_default().push(cells),
        }
    }
    tables
}

/// `code` in a cell.
fn spans(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// A table of fields names the properties of a part of a schema, and says which must be there.
fn hold(rows: &[Vec<String>], schema: &Schema, part: &str, must: &str) {
    let told = format!("{} {part}", schema.text["$id"]);
    let named: Vec<_> = rows.iter().flat_map(|row| spans(&row[0])).collect();
    let set: BTreeSet<_> = named.iter().cloned().collect();
    assert_eq!(named.len(), set.len(), "{told}: each once");
    assert_eq!(set, schema.properties(part), "{told}");
    if must.is_empty() {
        return;
    }
    let musts = rows
        .iter()
        .filter(|row| row[1..].iter().any(|cell| cell == must))
        .flat_map(|row| spans(&row[0]));
    assert_eq!(musts.collect::<BTreeSet<_>>(), schema.required(part), "{told}: {must}");
}

#[test]
fn every_example_is_good() {
    let page = page();
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut shown = BTreeSet::new();
    for block in blocks {
        let message: Value = serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}"));
        let name = message["type"].as_str().expect("a type");
        Schema::of(name).must_take(&message);
        shown.insert(name.to_owned());
    }
    assert_eq!(shown, IN.into_iter().chain(OUT).map(str::to_owned).collect(), "one of each");
}

#[test]
fn the_tables_of_fields_are_those_of_the_schemas() {
    let [call, dump] = IN.map(Schema::of);
    let message = "/$defs/message";
    hold(&tables(&section("### call.completed"))["field"], &call, message, "yes");
    let of_dumps = tables(&section("### recording.dump-requested"));
    hold(&of_dumps["field"], &dump, message, "yes");
    hold(&of_dumps["field of a recording"], &dump, "/$defs/recording", "");
    let envelope = &tables(&section("### The CloudEvents form"))["attribute"];
    for schema in [&call, &dump] {
        hold(envelope, schema, "/$defs/envelope", "yes");
    }

    let common = &tables(&section("### What all events have"))["field"];
    let mut attributes = BTreeSet::new();
    for name in OUT {
        let schema = Schema::of(name);
        attributes.extend(schema.properties(""));
        let own = tables(&section(&format!("### {name}")));
        let mut parts = vec![("field of `data`", "/properties/data", "always")];
        if name == "recording.archived" {
            parts.push(("field of an object", "/$defs/object", "always"));
            parts.push(("field of `audio`", "/$defs/audio", ""));
        }
        for (head, part, must) in parts {
            hold(&own[head], &schema, part, must);
        }
        if let Some(reason) = own["field of `data`"].iter().find(|row| row[0] == "`reason`") {
            let named: BTreeSet<_> = spans(&reason[3]).collect();
            assert_eq!(named, schema.properties("/properties/data/properties/reason"), "{name}");
        }
    }
    let named: BTreeSet<_> = common.iter().flat_map(|row| spans(&row[0])).collect();
    assert_eq!(named, attributes);
}

/// As a topic exchange does it.
pub(super) fn fits(binding: &[&str], key: &[&str]) -> bool {
    match (binding, key) {
        (["#", rest @ ..], _) => (0..=key.len()).any(|at| fits(rest, &key[at..])),
        (["*", rest @ ..], [_, key @ ..]) => fits(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && fits(rest, key),
        ([], []) => true,
        _ => false,
    }
}

#[test]
fn routing_keys_and_bindings_are_those_of_the_code() {
    let page = page();
    let rows = &tables(&page)["message"];
    let mut listed = BTreeSet::new();
    for row in rows {
        let name = spans(&row[0]).next().expect("a name");
        let comes_in = IN.contains(&&*name);
        let key = if comes_in { name.clone() } else { format!("{name}.{{tenant}}") };
        let exchange = if comes_in { ("in", "`calls`") } else { ("out", "`recordings`") };
        assert_eq!((row[1].as_str(), row[2].as_str()), exchange, "{name}");
        assert_eq!(row[3], format!("`{key}`"));
        assert!(row[4].ends_with(&format!("(schemas/{name}.schema.json)")), "{name}");
        if !comes_in {
            let told = section(&format!("### {name}")).contains(&format!("`{key}`"));
            assert!(told, "{name}: its section has its routing key");
        }
        listed.insert(name);
    }
    assert_eq!(listed, IN.into_iter().chain(OUT).map(str::to_owned).collect());
    // What the exchange `calls` gives to our queue.
    let topology = Desk::new(LEAST).printed("topology --definitions --config callvault.toml", &[]);
    let topology: Value = serde_json::from_str(&topology).expect("JSON");
    let bindings = topology["bindings"].as_array().expect("bindings");
    let ours = bindings.iter().filter(|binding| binding["source"] == "calls");
    let bound: BTreeSet<_> = ours.filter_map(|binding| binding["routing_key"].as_str()).collect();
    let sending = section("## Sending");
    let told: BTreeSet<_> = sending.split('`').filter(|span| span.ends_with(".#")).collect();
    assert_eq!(told, bound);
    for key in IN.iter().copied().chain(["call.completed.acme"]) {
        let key: Vec<_> = key.split('.').collect();
        let reaches = |binding: &&str| fits(&binding.split('.').collect::<Vec<_>>(), &key);
        assert!(bound.iter().any(reaches), "{key:?}");
    }

    // That the code says them under `{type}.{tenant}` is held by the events' own test.
    let keys: Vec<_> = OUT.iter().map(|name| format!("{name}.acme")).collect();
    let keys = [keys, vec!["recording.failed.unknown".to_owned()]].concat();
    let caught = |wanted: &str| -> Vec<&str> {
        let tables = tables(&section("## Consuming"));
        let row = tables["you want"].iter().find(|row| row[0] == wanted);
        let bindings: Vec<_> = spans(&row.unwrap_or_else(|| panic!("no {wanted}"))[1]).collect();
        let fits = |key: &&String| {
            let key: Vec<_> = key.split('.').collect();
            bindings.iter().any(|binding| fits(&binding.split('.').collect::<Vec<_>>(), &key))
        };
        let found = keys.iter().filter(fits);
        found.map(|key| key.strip_suffix(".acme").unwrap_or(key)).collect()
    };
    let [archived, absent, failed, expanded, audited] = OUT;
    let nobody = "recording.failed.unknown";
    let expected: [(&str, &[&str]); 8] = [
        ("all events", &[archived, absent, failed, expanded, audited, nobody]),
        ("all events of a tenant", &[archived, absent, failed, expanded, audited]),
        ("what is in the bucket", &[archived]),
        ("what came of each recording", &[archived, absent, failed, nobody]),
        ("what did not get there", &[absent, failed, nobody]),
        ("what was taken apart", &[expanded]),
        ("what an audit has found", &[audited]),
        ("messages of nobody", &[nobody]),
    ];
    for (wanted, events) in expected {
        assert_eq!(caught(wanted), events, "{wanted}");
    }
}

#[test]
fn the_columns_of_the_index_are_those_that_are_read() {
    let section = section("## The recording index");
    let example = section.split("```text\n").nth(1).and_then(|rest| rest.lines().next());
    let example = example.expect("a row");
    let cells: Vec<_> = example.split(',').collect();
    let rows = &tables(&section)["column"];
    let shown = |cell| if cell == "none" { "" } else { cell };
    let (last, first) = rows.split_last().expect("columns");
    for (at, row) in first.iter().enumerate() {
        assert_eq!((row[0].as_str(), &*row[2]), (&*(at + 1).to_string(), cells[at]), "{row:?}");
    }
    assert_eq!(first.len(), 13, "those of every release");
    // The newer ones share a row.
    let newer: Vec<_> = last[2].split(", ").map(shown).collect();
    assert_eq!((last[0].as_str(), &cells[13..]), ("14 to 18", &*newer));
    assert_eq!(last[1].split(", ").count(), newer.len());

    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let read = |row: &str| {
        let index = Index::stream(std::io::Cursor::new(row.to_owned().into_bytes()));
        let mut found = Vec::new();
        let read = index.expect("an index").read(&zone, |entry| {
            found.push(entry.row);
            std::ops::ControlFlow::Continue(())
        });
        read.expect("it is read");
        assert_eq!(found.len(), 1, "{row}");
        found.remove(0)
    };
    let whole = read(example).expect("a good row").whole();
    let value = |field: &str| match field {
        "ccId" => whole.cc_id.as_ref().map(ToString::to_string),
        "callId" => whole.call_id.as_ref().map(ToString::to_string),
        "fileName" => whole.file_name.as_ref().map(ToString::to_string),
        "callBegin" => {
            whole.call_begin.map(|at| zone.to_datetime(at).strftime("%F %T").to_string())
        }
        "callEnd" => whole.call_end.map(|at| zone.to_datetime(at).strftime("%F %T").to_string()),
        other => panic!("no field {other}"),
    };
    for (at, row) in first.iter().enumerate() {
        let mut other = cells.clone();
        other[at] = "7";
        let changed = read(&other.join(","));
        match row[3].strip_prefix("as `").and_then(|rest| rest.split('`').next()) {
            Some(field) => {
                assert_eq!(value(field).as_deref(), Some(cells[at]), "{row:?}");
                assert_ne!(changed.map(callvault::index::Row::whole).ok(), Some(whole.clone()));
            }
            None => {
                assert_eq!(row[3], "no", "{row:?}");
                let changed = changed.expect("its value does not matter").whole();
                assert_eq!(changed, whole, "{row:?}");
            }
        }
    }
    // The least that is a row.
    let least = section.split('`').find(|span| span.starts_with(",,,,")).expect("the least row");
    let least = read(least).expect("a good row").wanted(By::CallId).expect("a call");
    assert_eq!((least.call_id, least.call_end), (whole.call_id, whole.call_end));
}
