//! What a text and an environment of the test's own are read as.

mod defaults;
mod fixed;
mod folder;
mod messages;
mod precedence;
mod secrets;
mod values;

use secrecy::ExposeSecret as _;

use super::{Config, Environment, Loaded, Mistakes, Secret, layers};

/// What every configuration needs.
const LEAST: &str = r#"
[ccfs]
endpoints = ["https://ccfs.example.com:28443"]
[store]
bucket = "recordings"
[[tenants]]
id = "acme"
access_key = "AK"
secret_key = "SK-hunter2"
"#;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    let table = layers::parse("callvault.toml", text)?;
    let variables = variables.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    Config::read(&table, &Environment::new(variables))
}

/// Loads what is needed with `text` in front of it.
fn with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    load(&format!("{text}{LEAST}"), variables)
}

fn good(text: &str, variables: &[(&str, &str)]) -> Loaded {
    with(text, variables).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mistakes(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).map(|_| "no mistake").unwrap_err().to_string()
}

fn value_of(secret: &Secret) -> String {
    secret.read().unwrap().expose_secret().to_owned()
}

/// The row of a key and its source, `[store] bucket`.
fn row(loaded: &Loaded, header: &str, key: &str) -> (String, String) {
    let mut sections = loaded.effective.sections.iter().filter(|s| s.header == header);
    let row = sections.find_map(|s| s.rows.iter().find(|row| row.key == key));
    let row = row.unwrap_or_else(|| panic!("no row {header} {key}"));
    (row.value.clone().unwrap_or_default(), row.source.to_string())
}
