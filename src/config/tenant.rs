//! The tenants of the file (`[[tenants]]`) and of the folder `tenants_dir`, each with the sections that
//! apply to it already merged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::ccfs::{self, Ccfs};
use super::effective::quoted;
use super::kinds::is_visible;
use super::layers::{Node, Table, Value};
use super::mistake::{Place, Wrong};
use super::nearest;
use super::reader::Reader;
use super::secret::Secret;
use super::section::Section;
use super::store::{self, Store};
use crate::request::{CcId, TenantId};

/// A tenant, with the sections that apply to it already merged.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: TenantId,
    /// The CC-FS AK.
    pub access_key: String,
    pub secret_key: Secret,
    pub cc_id: CcId,
    pub time_zone: TimeZone,
    /// 0: no limit of its own.
    pub max_concurrency: usize,
    /// Its messages are parked until this is taken off.
    pub paused: bool,
    pub ccfs: Ccfs,
    pub store: Store,
}

/// The keys of a tenant that are its own.
struct Own {
    id: TenantId,
    access_key: String,
    secret_key: Secret,
    cc_id: CcId,
    time_zone: TimeZone,
    max_concurrency: usize,
    paused: bool,
}

/// `tenants_dir`; empty: none.
pub(super) fn dir(s: &mut Section<'_, '_>) -> Option<Option<PathBuf>> {
    s.optional("tenants_dir", |path| Ok(path.into()))
}

/// Reads all tenants, those of the folder after those of the file; those with mistakes are left out, as
/// the mistakes were recorded.
///
/// `dir`: the folder, if there is one; `None`: which it is was a mistake.
pub(super) fn read_all(reader: &mut Reader<'_>, dir: Option<Option<&Path>>) -> Vec<Tenant> {
    let of_file = reader.tenants();
    let of_folder = match dir {
        Some(Some(path)) => reader.folder(path),
        Some(None) => Some(&[][..]),
        None => None,
    };
    if of_file.as_ref().is_some_and(Vec::is_empty) && of_folder.is_some_and(<[_]>::is_empty) {
        none(reader, dir.flatten());
    }
    let of_file = of_file.into_iter().flatten().enumerate();
    let of_file = of_file.map(|(index, node)| (format!("#{}", index + 1), node));
    let of_folder = of_folder.into_iter().flatten().map(|(file, node)| (file.clone(), node));
    let mut ids = BTreeMap::new();
    let (mut common_ccfs, mut common_store) = (None, None);
    let mut tenants = Vec::new();
    for (name, node) in of_file.chain(of_folder) {
        let Value::Table(table) = &node.value else {
            let wrong = Wrong::new("must be a table", "begin each tenant with a line [[tenants]]");
            reader.mistake("tenants", Some(node.place.clone()), wrong);
            continue;
        };
        let label = label(&name, table);
        if let Some(inner) = table.get("tenants") {
            let what = "has no place in a tenant";
            let fix =
                "in a file of tenants_dir write its keys alone, and [ccfs] and [store] below them";
            let place = Some(inner.place.clone());
            reader.mistake(format!("{label}.tenants"), place, Wrong::new(what, fix));
            continue;
        }
        let own = reader.tenant(&label, node, table, |s| own(s, table, &mut ids));
        // Sections that it may have, whether it has them or not.
        for section in ["ccfs", "store"] {
            reader.know(format!("{label}.{section}"));
        }
        let ccfs = common(&mut common_ccfs, !table.contains_key("ccfs"), || {
            reader.merged(&label, table, "ccfs", ccfs::read)
        });
        let store = common(&mut common_store, !table.contains_key("store"), || {
            reader.merged(&label, table, "store", store::read)
        });
        if let (Some(own), Some(ccfs), Some(store)) = (own, ccfs, store) {
            let Own { id, access_key, secret_key, cc_id, time_zone, max_concurrency, paused } = own;
            tenants.push(Tenant {
                id,
                access_key,
                secret_key,
                cc_id,
                time_zone,
                max_concurrency,
                paused,
                ccfs,
                store,
            });
        }
    }
    tenants
}

/// What the tenants that have no section of their own make of the global one is read once for all of
/// them: a thousand share its secrets, and files are looked at once.
fn common<T: Clone>(
    kept: &mut Option<T>,
    shares: bool,
    read: impl FnOnce() -> Option<T>,
) -> Option<T> {
    if !shares {
        return read();
    }
    if kept.is_none() {
        *kept = read();
    }
    kept.clone()
}

/// There is no tenant, which is right only where they come and go.
fn none(reader: &mut Reader<'_>, dir: Option<&Path>) {
    match dir {
        Some(dir) => reader.warn(format!(
            "there is no tenant, neither in the file nor in {}: nothing is consumed until there is one",
            dir.display()
        )),
        None => {
            let what = "at least one tenant is required, and there is none";
            let fix = "add a [[tenants]] section to the file, or set tenants_dir";
            reader.mistake("tenants", None, Wrong::new(what, fix));
        }
    }
}

/// `ids`: those of the tenants before it, and where they stand.
fn own(s: &mut Section<'_, '_>, table: &Table, ids: &mut BTreeMap<TenantId, Place>) -> Option<Own> {
    let id = s.text("id", None, tenant_id);
    let access_key = s.text("access_key", None, access_key);
    let secret_key = s.required_secret("secret_key");
    let cc_id = s.text("cc_id", Some("1"), cc_id);
    let time_zone = s.text("time_zone", Some("UTC"), time_zone);
    let max_concurrency = s.integer("max_concurrency", 0, 0..=50_000);
    let paused = s.flag("paused", false);

    if let (Some(id), Some(Node { place, .. })) = (&id, table.get("id")) {
        if let Some(earlier) = ids.get(id) {
            let what = format!("is the id of an earlier tenant ({earlier})");
            s.refuse("id", Wrong::new(what, "give each its own"));
        } else {
            ids.insert(id.clone(), place.clone());
        }
    }

    Some(Own {
        id: id?,
        access_key: access_key?,
        secret_key: secret_key?,
        cc_id: cc_id?,
        time_zone: time_zone?,
        max_concurrency: max_concurrency?,
        paused: paused?,
    })
}

/// How mistakes name a tenant: by its id, or by its number or file where that is no good.
fn label(name: &str, table: &Table) -> String {
    match table.get("id") {
        Some(Node { value: Value::Text(id), .. }) if TenantId::new(id).is_ok() => {
            format!("tenants[{id}]")
        }
        _ => format!("tenants[{name}]"),
    }
}

fn tenant_id(text: &str) -> Result<TenantId, Wrong> {
    TenantId::new(text).map_err(|error| Wrong::new(error.to_string(), "choose another id"))
}

fn cc_id(text: &str) -> Result<CcId, Wrong> {
    CcId::new(text).map_err(|error| Wrong::new(error.to_string(), "write the call centre's id"))
}

/// The AK goes into a header as it is.
fn access_key(text: &str) -> Result<String, Wrong> {
    if text.is_empty() || !is_visible(text) {
        let what = "must be visible ASCII characters, at least one";
        return Err(Wrong::new(what, "write the AK as CC-FS shows it"));
    }
    Ok(text.to_owned())
}

fn time_zone(text: &str) -> Result<TimeZone, Wrong> {
    TimeZone::get(text).map_err(|_| {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        // `Berlin` is a slip of many letters, and clear all the same.
        let city =
            |name: &&str| name.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(text));
        let names = || names.iter().map(String::as_str);
        let fix = match nearest::alike(text, names()).or_else(|| names().find(city)) {
            Some(name) => format!("did you mean {}?", quoted(name)),
            None => "write a name such as \"Europe/Moscow\"".into(),
        };
        Wrong::new(format!("{} is no IANA time zone", quoted(text)), fix)
    })
}
