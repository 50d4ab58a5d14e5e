//! Call ids, file names and keys as they stand in the log: plain, or hashed on wish (promise 8).
//!
//! A leaf: it must not know what is logged, nor when.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use crate::config::{self, LogIdentifiers, SecretError};
use crate::request::TenantId;

/// Digits of a hash: 48 bits, so that of a million ids no two are likely to have the same.
const DIGITS: usize = 12;

/// Sets these hashes apart from whatever else the same secret signs.
const PURPOSE: &[u8] = b"callvault: identifiers in the log";

/// How identifiers are written.
pub struct Identifiers(Vec<(TenantId, Vec<u8>)>);

impl Identifiers {
    /// Hashed, each tenant's with a key derived from its CC-FS secret: all workers of a deployment
    /// have that, so that an id is the same digits in each of their logs; who reads the logs has it
    /// not, and so cannot try all call ids there are, which are but seconds and a serial.
    ///
    /// # Errors
    /// A tenant's secret cannot be read.
    pub fn new(how: LogIdentifiers, tenants: &[config::Tenant]) -> Result<Self, SecretError> {
        let key = |tenant: &config::Tenant| {
            let secret = tenant.secret_key.read()?;
            Ok((tenant.id.clone(), hmac(secret.expose_secret().as_bytes(), PURPOSE)))
        };
        match how {
            LogIdentifiers::Plain => Ok(Self(Vec::new())),
            LogIdentifiers::Hashed => tenants.iter().map(key).collect::<Result<_, _>>().map(Self),
        }
    }

    /// An identifier as it may be written. One of no tenant that is configured is hashed as the
    /// first one's would be.
    pub fn shown<'a>(&self, tenant: Option<&TenantId>, identifier: &'a str) -> Cow<'a, str> {
        let own = self.0.iter().find(|(id, _)| Some(id) == tenant);
        match own.or(self.0.first()) {
            None => identifier.into(),
            Some((_, key)) => {
                let mut digits = hex::encode(hmac(key, identifier.as_bytes()));
                digits.truncate(DIGITS);
                digits.into()
            }
        }
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
