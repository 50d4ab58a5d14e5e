//! The id of an event: derived from what it is about, so that a repeat can be recognised.

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::recording::Place;
use crate::request::{CcId, RequestId, TenantId};

/// What an event is about.
pub enum Subject<'a> {
    Recording {
        place: &'a Place,
        /// What it turned out to be, where it came: a WAV and a ZIP of one call are two.
        extension: Option<&'a str>,
        /// Of an archived one whose call centre is not the tenant's own: both may have the same names.
        cc_id: Option<&'a CcId>,
        /// Of a dump with `force`, which archives again what another has archived.
        request_id: Option<&'a RequestId>,
    },
    Dump(&'a RequestId),
    /// What an audit has found of a day.
    Audit {
        day: Date,
        began: Timestamp,
    },
    /// A message that tells no recording: the SHA-256 of its body.
    Body(&'a [u8; 32]),
}

/// A UUID of version 8 (RFC 9562): SHA-256 over the fields, each with its length before it.
pub fn derive(
    event_type: &str,
    tenant: Option<&TenantId>,
    subject: Subject<'_>,
    redrive: Option<&str>,
) -> String {
    let mut hash = Sha256::new();
    let mut field = |value: Option<&[u8]>| {
        // u64::MAX is the length of no field: absent is not the same as empty.
        hash.update(value.map_or(u64::MAX, |value| value.len() as u64).to_be_bytes());
        hash.update(value.unwrap_or_default());
    };
    field(Some(event_type.as_bytes()));
    field(tenant.map(|tenant| tenant.as_str().as_bytes()));
    match subject {
        Subject::Recording { place, extension, cc_id, request_id } => {
            field(Some(b"recording"));
            field(Some(place.when.date.to_string().as_bytes()));
            field(Some(place.name.as_bytes()));
            // None of a WAV: it has the id that workers gave it before they told it from a ZIP, beside
            // which this one may work.
            if let Some(extension) = extension.filter(|&extension| extension != "wav") {
                field(Some(extension.as_bytes()));
            }
            if let Some(cc_id) = cc_id {
                field(Some(b"ccId"));
                field(Some(cc_id.as_str().as_bytes()));
            }
            field(request_id.map(|id| id.as_str().as_bytes()));
        }
        Subject::Dump(request_id) => {
            field(Some(b"dump"));
            field(Some(request_id.as_str().as_bytes()));
        }
        Subject::Audit { day, began } => {
            field(Some(b"audit"));
            field(Some(day.to_string().as_bytes()));
            field(Some(began.to_string().as_bytes()));
        }
        Subject::Body(sha256) => {
            field(Some(b"body"));
            field(Some(sha256));
        }
    }
    field(redrive.map(str::as_bytes));
    as_uuid(&hash.finalize().into())
}

fn as_uuid(digest: &[u8; 32]) -> String {
    let mut bytes = *digest.first_chunk::<16>().expect("a SHA-256 has 32 bytes");
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
