//! docs/schemas, docs/asyncapi.yaml and docs/MESSAGES.md against the code, both ways: what is said
//! there is so, and what is so is said there.

mod asyncapi;
mod events;
mod messages;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The messages that come in.
const IN: [&str; 2] = ["call.completed", "recording.dump-requested"];
/// The events that go out.
const OUT: [&str; 5] = [
    "recording.archived",
    "recording.absent",
    "recording.failed",
    "dump.expanded",
    "audit.completed",
];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A schema of docs/schemas.
struct Schema {
    /// Its own text.
    text: Value,
    compiled: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn of(message: &str) -> Self {
        let name = format!("{message}.schema.json");
        let text: Value =
            serde_json::from_str(&text(&format!("docs/schemas/{name}"))).expect("JSON");
        assert_eq!(text["$id"], name);
        let (mut compiler, mut compiled) = (Compiler::new(), Schemas::new());
        // Under an address of nobody's: what it refers to has to be in it.
        let address = format!("https://callvault.invalid/{name}");
        compiler.add_resource(&address, text.clone()).expect("a good address");
        let index = compiler.compile(&address, &mut compiled);
        let index = index.unwrap_or_else(|error| panic!("{message}: {error:#}"));
        Self { text, compiled, index }
    }

    fn takes(&self, message: &Value) -> bool {
        self.compiled.validate(message, self.index).is_ok()
    }

    /// Panics with what is wrong.
    fn must_take(&self, message: &Value) {
        if let Err(error) = self.compiled.validate(message, self.index) {
            panic!("{error:#}\n{message:#}");
        }
    }

    /// The properties of a part of it, by the part's place (`/properties/data`).
    fn properties(&self, part: &str) -> BTreeSet<String> {
        let part = self.part(part);
        let own = part["properties"].as_object().into_iter().flatten();
        let own = own.map(|(name, _)| name.clone());
        // What a message is, besides its type.
        let all = part["allOf"].as_array().into_iter().flatten();
        let others = all.filter_map(|other| other["$ref"].as_str()?.strip_prefix('#'));
        own.chain(others.flat_map(|other| self.properties(other))).collect()
    }

    fn required(&self, part: &str) -> BTreeSet<String> {
        let part = self.part(part);
        let own = part["required"].as_array().into_iter().flatten();
        let own = own.filter_map(|name| name.as_str()).map(str::to_owned);
        let all = part["allOf"].as_array().into_iter().flatten();
        let others = all.filter_map(|other| other["$ref"].as_str()?.strip_prefix('#'));
        own.chain(others.flat_map(|other| self.required(other))).collect()
    }

    fn part(&self, part: &str) -> &Value {
        self.text.pointer(part).unwrap_or_else(|| panic!("{} has no {part}", self.text["$id"]))
    }
}

#[test]
fn each_message_has_its_schema_whose_own_examples_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = files.map(|file| file.file_name().into_string().expect("UTF-8"));
    let expected = IN.iter().chain(&OUT).map(|name| format!("{name}.schema.json"));
    assert_eq!(files.collect::<BTreeSet<_>>(), expected.collect());

    for message in IN.into_iter().chain(OUT) {
        let schema = Schema::of(message);
        let examples = schema.text["examples"].as_array().expect("examples");
        assert!(!examples.is_empty());
        for example in examples {
            assert_eq!(example["type"], message);
            schema.must_take(example);
        }
    }
}
