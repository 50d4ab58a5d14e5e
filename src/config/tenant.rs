//! `[[tenants]]`, each with the sections that apply to it already merged.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::ccfs::{self, Ccfs};
use super::effective::quoted;
use super::layers::{Node, Table, Value};
use super::mistake::Wrong;
use super::nearest;
use super::reader::Reader;
use super::secret::Secret;
use super::section::Section;
use super::store::{self, Store};
use crate::request::{CcId, TenantId};

/// `[[tenants]]`, with the sections that apply to it already merged.
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
}

/// Reads all tenants; those with mistakes are left out, as the mistakes were recorded.
pub(super) fn read_all(reader: &mut Reader<'_>) -> Vec<Tenant> {
    let nodes = reader.tenants();
    if nodes.as_ref().is_some_and(Vec::is_empty) {
        let what = "at least one tenant is required, and there is none";
        let fix = "add a [[tenants]] section to the file";
        reader.mistake("tenants", None, Wrong::new(what, fix));
    }
    let mut ids = BTreeSet::new();
    let mut tenants = Vec::new();
    for (index, node) in nodes.into_iter().flatten().enumerate() {
        let Value::Table(table) = &node.value else {
            let wrong = Wrong::new("must be a table", "begin each tenant with a line [[tenants]]");
            reader.mistake("tenants", Some(node.place.clone()), wrong);
            continue;
        };
        let label = label(index, table);
        let own = reader.tenant(&label, node, table, |s| own(s, &mut ids));
        let ccfs = reader.merged(&label, table, "ccfs", ccfs::read);
        let store = reader.merged(&label, table, "store", store::read);
        if let (Some(own), Some(ccfs), Some(store)) = (own, ccfs, store) {
            let Own { id, access_key, secret_key, cc_id, time_zone, max_concurrency } = own;
            tenants.push(Tenant {
                id,
                access_key,
                secret_key,
                cc_id,
                time_zone,
                max_concurrency,
                ccfs,
                store,
            });
        }
    }
    tenants
}

fn own(s: &mut Section<'_, '_>, ids: &mut BTreeSet<TenantId>) -> Option<Own> {
    let id = s.text("id", None, tenant_id);
    let access_key = s.text("access_key", None, access_key);
    let secret_key = s.required_secret("secret_key");
    let cc_id = s.text("cc_id", Some("1"), cc_id);
    let time_zone = s.text("time_zone", Some("UTC"), time_zone);
    let max_concurrency = s.integer("max_concurrency", 0, 0..=50_000);

    if let Some(id) = &id
        && !ids.insert(id.clone())
    {
        s.refuse("id", Wrong::new("is the id of an earlier tenant", "give each its own"));
    }

    Some(Own {
        id: id?,
        access_key: access_key?,
        secret_key: secret_key?,
        cc_id: cc_id?,
        time_zone: time_zone?,
        max_concurrency: max_concurrency?,
    })
}

/// How mistakes name a tenant: by its id, or by its number where that is no good.
fn label(index: usize, table: &Table) -> String {
    match table.get("id") {
        Some(Node { value: Value::Text(id), .. }) if TenantId::new(id).is_ok() => {
            format!("tenants[{id}]")
        }
        _ => format!("tenants[#{}]", index + 1),
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
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
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
