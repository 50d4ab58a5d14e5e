//! docs/asyncapi.yaml: it is AsyncAPI 3.0.0, all that it refers to is there, its examples are good.
//! That it says what the code does: [`code`].

mod code;

use std::collections::BTreeSet;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use callvault::clock;
use callvault::event;
use callvault::request::{self, Hints};
use serde_json::{Value, json};

use super::{IN, OUT, text};

/// The official schema of a document, as `@asyncapi/specs` 6.11.1 has it.
const OFFICIAL: &str = include_str!("../../fixtures/asyncapi/3.0.0.json");

fn document() -> Value {
    // By way of YAML's own value, which refuses a key that is there twice.
    let yaml: yaml_serde::Value =
        yaml_serde::from_str(&text("docs/asyncapi.yaml")).unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(yaml).expect("it is JSON, too")
}

/// The names of what a part of the document has.
fn names(part: &Value) -> BTreeSet<String> {
    let part = part.as_object().unwrap_or_else(|| panic!("an object: {part}"));
    part.keys().cloned().collect()
}

/// A part, or what of the document it refers to.
fn follow<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let Some(place) = part["$ref"].as_str() else { return part };
    let found = place.strip_prefix('#').and_then(|place| document.pointer(place));
    follow(document, found.unwrap_or_else(|| panic!("there is no {place}")))
}

/// Everything that is referred to; what an example has is no reference.
fn references<'a>(part: &'a Value, found: &mut Vec<&'a str>) {
    match part {
        Value::Object(fields) => {
            found.extend(part["$ref"].as_str());
            let fields = fields.iter().filter(|(name, _)| *name != "examples");
            fields.for_each(|(_, value)| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// What a reference out of the document leads to.
fn outside(reference: &str) -> Value {
    let (file, place) = reference.split_once('#').unwrap_or((reference, ""));
    assert!(file.starts_with("schemas/"), "{reference}: all others are beside it");
    let schema: Value = serde_json::from_str(&text(&format!("docs/{file}"))).expect("JSON");
    schema.pointer(place).unwrap_or_else(|| panic!("{file} has no {place}")).clone()
}

/// The document with the schemas in it.
fn whole(part: &Value) -> Value {
    match part {
        Value::Object(fields) => match part["$ref"].as_str() {
            Some(reference) if !reference.starts_with('#') => outside(reference),
            _ => fields.iter().map(|(name, part)| (name.clone(), whole(part))).collect(),
        },
        Value::Array(values) => values.iter().map(whole).collect(),
        other => other.clone(),
    }
}

/// The schemas that the document holds, at their places.
struct Judge {
    compiler: Compiler,
    compiled: Schemas,
}

impl Judge {
    const ADDRESS: &str = "https://callvault.invalid/asyncapi.yaml";

    fn of(document: &Value) -> Self {
        let mut compiler = Compiler::new();
        let mut add = |address: &str, schema| {
            compiler.add_resource(address, schema).expect("a good address");
        };
        add(Self::ADDRESS, document.clone());
        for name in IN.into_iter().chain(OUT) {
            let path = format!("schemas/{name}.schema.json");
            add(&format!("https://callvault.invalid/{path}"), outside(&path));
        }
        Self { compiler, compiled: Schemas::new() }
    }

    /// Panics with what is wrong.
    fn must_take(&mut self, place: &str, value: &Value) {
        let index =
            self.compiler.compile(&format!("{}#{place}", Self::ADDRESS), &mut self.compiled);
        let index = index.unwrap_or_else(|error| panic!("{place}: {error:#}"));
        must_take(&self.compiled, index, value);
    }
}

fn must_take(schemas: &Schemas, index: SchemaIndex, value: &Value) {
    if let Err(error) = schemas.validate(value, index) {
        panic!("{error:#}");
    }
}

/// What `$message.payload#/…` points at.
fn located<'a>(location: &Value, payload: &'a Value) -> Option<&'a Value> {
    let location = location.as_str().expect("a location");
    let place = location.strip_prefix("$message.payload#").expect("all are in the body");
    payload.pointer(place)
}

#[test]
fn it_is_asyncapi_as_the_official_schema_has_it() {
    let official: Value = serde_json::from_str(OFFICIAL).expect("JSON");
    let address = official["$id"].as_str().expect("an id").to_owned();
    let (mut compiler, mut compiled) = (Compiler::new(), Schemas::new());
    compiler.add_resource(&address, official).expect("a good address");
    let index = compiler.compile(&address, &mut compiled).expect("a good schema");
    let document = document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    must_take(&compiled, index, &document);
    // As a tool has it that has read what it refers to.
    must_take(&compiled, index, &whole(&document));
    // It does judge.
    let mut bad = document;
    bad["channels"]["call.completed"]["adress"] = "call.completed".into();
    assert!(compiled.validate(&bad, index).is_err());
}

#[test]
fn all_that_it_refers_to_is_there_and_no_part_is_left_over() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        match reference.strip_prefix('#') {
            Some(place) => assert!(document.pointer(place).is_some(), "there is no {reference}"),
            None => drop(outside(reference)),
        }
    }
    for (kind, parts) in document["components"].as_object().expect("components") {
        for name in names(parts) {
            let place = format!("#/components/{kind}/{name}");
            assert!(found.contains(&place.as_str()), "nothing refers to {place}");
        }
    }
    for (name, channel) in document["channels"].as_object().expect("channels") {
        let place = format!("#/channels/{name}");
        assert!(found.contains(&place.as_str()), "no operation at {name}");
        // Of the document alone: the same message by the same name.
        for (message, reference) in channel["messages"].as_object().expect("messages") {
            assert_eq!(reference["$ref"], format!("#/components/messages/{message}"), "{name}");
            let place = format!("{place}/messages/{message}");
            assert!(found.contains(&place.as_str()), "no operation has {place}");
        }
    }
}

/// AsyncAPI's own schemas are draft 7, and so are the tools that read them.
#[test]
fn the_schemas_say_the_same_to_who_knows_draft_7() {
    // Those that draft 7 does not have, or reads as something else.
    const NEWER: [&str; 12] = [
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$recursiveRef",
        "$vocabulary",
        "dependentRequired",
        "dependentSchemas",
        "maxContains",
        "minContains",
        "prefixItems",
        "unevaluatedItems",
        "unevaluatedProperties",
    ];
    fn look(part: &Value) {
        match part {
            Value::Object(fields) => {
                for (name, value) in fields.iter().filter(|(name, _)| *name != "examples") {
                    assert!(!NEWER.contains(&name.as_str()), "{name}");
                    look(value);
                }
                // Draft 7 does not look at what stands beside a reference.
                let beside = fields.keys().filter(|_| part["$ref"].is_string());
                let mut beside = beside.filter(|name| *name != "$ref" && *name != "description");
                assert_eq!(beside.next(), None, "{part}");
            }
            Value::Array(values) => values.iter().for_each(look),
            _ => {}
        }
    }
    for name in IN.into_iter().chain(OUT) {
        let mut schema = outside(&format!("schemas/{name}.schema.json"));
        look(&schema);
        schema.as_object_mut().expect("an object").remove("$schema");
        let examples = schema["examples"].clone();
        let (mut compiler, mut compiled) = (Compiler::new(), Schemas::new());
        compiler.set_default_draft(Draft::V7);
        let address = format!("https://callvault.invalid/{name}.schema.json");
        compiler.add_resource(&address, schema).expect("a good address");
        let index = compiler.compile(&address, &mut compiled).expect("a good schema");
        for example in examples.as_array().expect("examples") {
            must_take(&compiled, index, example);
            assert!(compiled.validate(&json!({ "type": name }), index).is_err());
        }
    }
}

#[test]
fn its_examples_are_good() {
    let document = document();
    let mut judge = Judge::of(&document);
    for (name, message) in document["components"]["messages"].as_object().expect("messages") {
        let correlation = &follow(&document, &message["correlationId"])["location"];
        let mut correlated = correlation.is_null();
        let examples = message["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            let payload = &example["payload"];
            judge.must_take(&format!("/components/messages/{name}/payload"), payload);
            assert_eq!(payload["type"], *name);
            if let Some(headers) = example.get("headers") {
                judge.must_take(&format!("/components/messages/{name}/headers"), headers);
                let known = follow(&document, &message["headers"]);
                assert!(names(headers).is_subset(&names(&known["properties"])), "{headers}");
            }
            if !event::TYPES.contains(&name.as_str()) {
                let body = payload.to_string();
                let read = request::parse(body.as_bytes(), Hints::default(), clock::now());
                assert!(read.is_ok_and(|read| read.message_type().as_str() == name), "{payload}");
            }
            correlated |= !correlation.is_null() && located(correlation, payload).is_some();
        }
        assert!(correlated, "{name}: no example has what its correlation id is");
    }
}
