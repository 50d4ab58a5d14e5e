//! The configuration (contract 6): every key typed, validated and with its default, in one place.
//!
//! Only `cli` sees [`Config`] whole; the parts of the program get their own section. A section's
//! file holds its type and reads it key by key; `reader` goes through the sections and closes the
//! `books` that they write; `layers` are what is looked into. Nothing here asks the process for its environment.

mod books;
mod broker;
mod ccfs;
mod effective;
mod fixed;
mod folder;
mod forms;
mod http;
mod kinds;
mod layers;
mod log;
mod mistake;
mod nearest;
mod pem;
mod plain;
mod reader;
mod retry;
mod secret;
mod section;
mod store;
mod tenant;
mod units;
mod worker;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use layers::{Environment, Table};
use mistake::Wrong;
use reader::Reader;

pub use broker::Broker;
pub use ccfs::Ccfs;
pub use effective::{Effective, EffectiveSection, Row, Source, quoted};
pub use http::Http;
pub use kinds::is_visible;
pub use log::{Log, LogFormat, LogIdentifiers};
pub use mistake::{Mistake, Mistakes, Place};
pub use nearest::alike as nearest_name;
pub use pem::read_pem;
pub use plain::{goes_plain, host_and_port, is_this_machine};
pub use retry::Retry;
pub use secret::{Secret, SecretError};
pub use store::{
    Checksum, Conditional, LockMode, MAX_PARTS, ObjectLock, Sse, Store, StoreCredentials, ZipMode,
};
pub use tenant::Tenant;
pub use units::{parse_duration, parse_size, show_duration, show_size};
pub use worker::Worker;

/// Everything an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    pub broker: Broker,
    pub worker: Worker,
    pub retry: Retry,
    pub http: Http,
    pub log: Log,
    /// Where each file is a tenant; they are in `tenants` with those of the file.
    pub tenants_dir: Option<PathBuf>,
    /// In the order of the file, then of the names in the folder; ids unique. At least one, or there is
    /// a folder.
    pub tenants: Vec<Tenant>,
}

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// What works, and hardly as it was meant.
    pub warnings: Vec<String>,
    pub effective: Effective,
}

impl Config {
    /// Reads the file and the environment over it, and the folder of tenants. Good for a worker that
    /// runs, too: nothing is kept of an earlier reading.
    ///
    /// `environment` is all that there is: the variables of ours (`CALLVAULT__BROKER__URL`), and
    /// those that `_env` forms name. The secret files and the CA files are looked at too.
    ///
    /// # Errors
    /// All mistakes at once, but for a file that is not TOML: then every syntax error. No file at all,
    /// since a tenant can stand nowhere else.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, OsString)>,
    ) -> Result<Loaded, Mistakes> {
        let table = layers::read_file(file.ok_or_else(layers::no_file)?)?;
        Self::read(&table, &Environment::new(environment))
    }

    fn read(file: &Table, environment: &Environment) -> Result<Loaded, Mistakes> {
        let folder = OnceCell::new();
        let mut reader = Reader::new(file, &folder, environment);
        let config = sections(&mut reader);
        let (effective, warnings) = reader.finish()?;
        let config = config.expect("a section that gives no value has recorded a mistake");
        Ok(Loaded { config, warnings, effective })
    }
}

/// Reads everything, in the order of the contract. `None`: mistakes were recorded.
fn sections(reader: &mut Reader<'_>) -> Option<Config> {
    let tenants_dir = reader.top(tenant::dir);
    let broker = reader.section("broker", broker::read);
    let worker = reader.section("worker", worker::read);
    reader.base("ccfs", ccfs::read);
    reader.base("store", store::read);
    let retry = reader.section("retry", retry::read);
    let http = reader.section("http", http::read);
    let log = reader.section("log", log::read);
    let tenants = tenant::read_all(reader, tenants_dir.as_ref().map(Option::as_deref));
    if let Some(worker) = &worker {
        hold_parts(reader, worker, &tenants);
    }
    warn_of_shared_keys(reader, &tenants);
    Some(Config {
        broker: broker?,
        worker: worker?,
        retry: retry?,
        http: http?,
        log: log?,
        tenants_dir: tenants_dir?,
        tenants,
    })
}

/// A job needs one part at least, or memory would not be what it is set to.
fn hold_parts(reader: &mut Reader<'_>, worker: &Worker, tenants: &[Tenant]) {
    // Parts grow for a recording that would have more of them than an upload may.
    let grown = |tenant: &Tenant| tenant.ccfs.max_size.div_ceil(u64::from(MAX_PARTS));
    let part = |tenant: &Tenant| tenant.store.part_size.max(grown(tenant));
    let Some(tenant) = tenants.iter().max_by_key(|tenant| part(tenant)) else { return };
    let largest = part(tenant);
    if largest <= worker.memory {
        return;
    }
    let (why, fix) = if largest == tenant.store.part_size {
        ("store.part_size", "raise it, or lower the part size")
    } else {
        ("for ccfs.max_size", "raise it, or lower the largest size")
    };
    let (memory, id) = (show_size(worker.memory), &tenant.id);
    let what =
        format!("is {memory}, less than one part of {} ({why} of tenant {id})", show_size(largest));
    let place = reader.place("[worker]", "memory");
    reader.mistake("worker.memory", place, Wrong::new(what, fix));
}

/// Without the tenant in the key, two tenants' recordings of one name meet under one key.
fn warn_of_shared_keys(reader: &mut Reader<'_>, tenants: &[Tenant]) {
    let mut places = HashMap::new();
    for tenant in tenants {
        let Store { bucket, endpoint, key, .. } = &tenant.store;
        let earlier = places.entry((bucket, endpoint, key)).or_insert(&tenant.id);
        if !key.contains("{tenant}") && *earlier != &tenant.id {
            reader.warn(format!(
                "tenants {earlier} and {} share a bucket and a store.key without {{tenant}}: \
                 recordings of the same name end as store.conflict",
                tenant.id
            ));
        }
    }
}

#[cfg(test)]
mod tests;
