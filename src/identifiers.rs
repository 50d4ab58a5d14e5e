//! Call ids, file names and keys as they stand in the log: plain, or hashed on wish (promise 8).
//!
//! A leaf: it must not know what is logged, nor when.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use crate::config::{self, LogIdentifiers, SecretError};
use crate::request::TenantId;

/// Digits of a hash: 48 bits, so that of a million ids no two are likely to have the same.
const DIGITS: usize = 12;

/// Sets these hashes apart from whatever else the same secret signs.
const PURPOSE: &[u8] = b"callvault: identifiers in the log";

/// How identifiers are written; plain without keys.
pub struct Identifiers(Option<RwLock<Keys>>);

struct Keys {
    own: HashMap<TenantId, Vec<u8>>,
    /// For what is of no configured tenant.
    other: Vec<u8>,
}

impl Identifiers {
    /// Hashed, each tenant's with a key derived from its CC-FS secret: all workers of a deployment
    /// have that, so that an id is the same digits in each of their logs; who reads the logs has it
    /// not, and so cannot try all call ids there are, which are but seconds and a serial.
    ///
    /// # Errors
    /// A tenant's secret cannot be read.
    pub fn new(how: LogIdentifiers, tenants: &[config::Tenant]) -> Result<Self, SecretError> {
        Ok(Self(match how {
            LogIdentifiers::Plain => None,
            LogIdentifiers::Hashed => Some(RwLock::new(Keys::of(tenants)?)),
        }))
    }

    /// These are the tenants from now on.
    ///
    /// # Errors
    /// A tenant's secret cannot be read; nothing has changed.
    pub fn adopt(&self, tenants: &[config::Tenant]) -> Result<(), SecretError> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let new = Keys::of(tenants)?;
        *keys.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// An identifier as it may be written. One of no tenant that is configured is hashed as the
    /// first one's would be.
    pub fn shown<'a>(&self, tenant: Option<&TenantId>, identifier: &'a str) -> Cow<'a, str> {
        let Some(keys) = &self.0 else { return identifier.into() };
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
        let own = tenant.and_then(|tenant| keys.own.get(tenant));
        let mut digits = hex::encode(hmac(own.unwrap_or(&keys.other), identifier.as_bytes()));
        digits.truncate(DIGITS);
        digits.into()
    }
}

impl Keys {
    fn of(tenants: &[config::Tenant]) -> Result<Self, SecretError> {
        let key = |tenant: &config::Tenant| {
            let secret = tenant.secret_key.read()?;
            Ok(hmac(secret.expose_secret().as_bytes(), PURPOSE))
        };
        let own = tenants.iter().map(|tenant| Ok((tenant.id.clone(), key(tenant)?)));
        let own = own.collect::<Result<HashMap<_, _>, SecretError>>()?;
        let first = tenants.first().and_then(|tenant| own.get(&tenant.id)).cloned();
        Ok(Self { own, other: first.unwrap_or_else(nobodys) })
    }
}

/// Without a tenant there is no secret: a key of this process alone.
fn nobodys() -> Vec<u8> {
    let random = || RandomState::new().hash_one(PURPOSE).to_be_bytes();
    [random(), random()].concat()
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Tenants of these names, each with its name as its secret.
    fn tenants(ids: &[&str]) -> Vec<config::Tenant> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("callvault.toml");
        let folder = dir.path().join("tenants");
        std::fs::create_dir(&folder).unwrap();
        let shared = "[ccfs]\nendpoints = [\"https://ccfs\"]\n[store]\nbucket = \"b-b\"\n";
        let mut text = format!("tenants_dir = \"{}\"\n{shared}", folder.display());
        for id in ids {
            text += &format!(
                "[[tenants]]\nid = \"{id}\"\naccess_key = \"AK\"\nsecret_key = \"{id}\"\n"
            );
        }
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), std::iter::empty()).unwrap().config.tenants
    }

    #[test]
    fn hashed_by_the_tenants_own_key_as_they_come_and_go() {
        let hashed = |ids| Identifiers::new(LogIdentifiers::Hashed, &tenants(ids)).unwrap();
        let shown = |by: &Identifiers, tenant: &str| {
            by.shown(Some(&TenantId::new(tenant).unwrap()), "1777093663-1").into_owned()
        };
        let (both, first) = (hashed(&["acme", "globex"]), hashed(&["acme"]));
        assert_eq!(shown(&both, "acme").len(), DIGITS);
        assert_ne!(shown(&both, "acme"), shown(&both, "globex"));
        assert_eq!(shown(&both, "nobody"), shown(&both, "acme"));
        assert_ne!(shown(&first, "globex"), shown(&both, "globex"));
        first.adopt(&tenants(&["acme", "globex"])).unwrap();
        assert_eq!(shown(&first, "globex"), shown(&both, "globex"));
        // Without any tenant nothing stands there plain either.
        first.adopt(&[]).unwrap();
        assert_eq!(shown(&first, "acme").len(), DIGITS);
        assert_ne!(shown(&first, "acme"), shown(&both, "acme"));

        let plain = Identifiers::new(LogIdentifiers::Plain, &tenants(&["acme"])).unwrap();
        plain.adopt(&tenants(&["globex"])).unwrap();
        assert_eq!(shown(&plain, "acme"), "1777093663-1");
    }
}
