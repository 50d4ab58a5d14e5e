//! The key of an object: fit for every store, the same for the same message, and not another
//! recording's where the contract sets two apart.
//!
//! The bytes are lines: a template, a tenant, another one, a call centre, the time of the call, a
//! call's id, another one, a file name.

use callvault::failure::Reason;
use callvault::recording::{Format, KeyTemplate, Located, ObjectKey, Place, extension, locate};
use callvault::request::{CallId, CcId, FileName, TenantId, Wanted};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let template = KeyTemplate::parse(next());
    let tenant = TenantId::new(next());
    let other_tenant = TenantId::new(next());
    let cc_id = CcId::new(next());
    let call_end = next().parse().ok();
    let [call_id, other_id] = [CallId::new(next()).ok(), CallId::new(next()).ok()];
    let file_name = FileName::new(next()).ok();
    let wanted = Wanted { call_id, file_name, call_end, ..Wanted::default() };
    let Some(place) = placed(&wanted) else { return };
    let (Ok(template), Ok(tenant), Ok(cc_id)) = (template, tenant, cc_id) else { return };

    let keys = Keys { template, cc_id };
    keys.are_clean(&tenant, &wanted, &place);
    if let Ok(other) = other_tenant {
        keys.differ_by_tenant([&tenant, &other], &wanted, &place);
    }
    if let Some(other) = other_id.filter(|_| call_end.is_some()) {
        keys.differ_by_call(&tenant, &wanted, other);
    }
}

/// The place of a recording, if it has one; by its message alone.
fn placed(wanted: &Wanted) -> Option<Place> {
    let zone = TimeZone::fixed(Offset::constant(8));
    // Nothing is ahead of it.
    let now = Timestamp::MAX;
    let nobody = wanted.call_id.is_none() && wanted.file_name.is_none();
    let undated = locate(wanted, &zone, None, now);
    let sent_at = Some(Timestamp::UNIX_EPOCH);
    match locate(wanted, &zone, sent_at, now) {
        Err(failure) => {
            assert!(nobody && failure.reason == Reason::MESSAGE_INVALID, "{failure}");
            None
        }
        Ok(place) => {
            match undated {
                Ok(same) => assert_eq!(same, place),
                Err(failure) => {
                    assert_eq!(failure.reason, Reason::MESSAGE_NO_DATE);
                    assert_eq!(place.when.known_at, Timestamp::UNIX_EPOCH);
                }
            }
            if let Some(call_end) = wanted.call_end {
                assert_eq!(place.when.known_at, call_end);
                assert_eq!(place.when.date, zone.to_datetime(call_end).date());
            }
            // Releases differ in the slashes of a path.
            let slashes = wanted.file_name.as_ref().map(|name| name.as_str().replace('\\', "/"));
            let file_name = slashes.and_then(|name| FileName::new(name).ok());
            let same = locate(&Wanted { file_name, ..wanted.clone() }, &zone, sent_at, now);
            assert_eq!(same.expect("as before").name, place.name);
            Some(place)
        }
    }
}

struct Keys {
    template: KeyTemplate,
    cc_id: CcId,
}

impl Keys {
    fn of(&self, tenant: &TenantId, wanted: &Wanted, place: &Place) -> Option<ObjectKey> {
        let extension = extension(Format::Other, wanted);
        let recording = Located { tenant, cc_id: &self.cc_id, wanted, place };
        match self.template.key(recording, &extension) {
            Ok(key) => Some(key),
            Err(failure) => {
                assert_eq!(failure.reason, Reason::MESSAGE_INVALID);
                assert!(failure.detail.ends_with("the most is 1024"), "{failure}");
                None
            }
        }
    }

    fn are_clean(&self, tenant: &TenantId, wanted: &Wanted, place: &Place) {
        let Some(key) = self.of(tenant, wanted, place) else { return };
        assert_eq!(self.of(tenant, wanted, place).as_ref(), Some(&key));
        let key = key.as_str();
        assert!(key.len() <= 1024);
        let clean = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%=/".contains(&byte);
        assert!(key.bytes().all(clean), "{key}");
        assert!(key.split('/').all(|part| !["", ".", ".."].contains(&part)), "{key}");
        let hex = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
        let mut escapes = key.split('%').skip(1).map(str::as_bytes);
        assert!(escapes.all(|after| after.len() >= 2 && after[..2].iter().all(hex)), "{key}");
        if let Some(prefix) = self.template.prefix(tenant) {
            assert!(key.starts_with(&prefix), "{key}");
        }
    }

    fn differ_by_tenant(&self, tenants: [&TenantId; 2], wanted: &Wanted, place: &Place) {
        let [one, other] = tenants.map(|tenant| self.template.prefix(tenant));
        let (Some(one), Some(other)) = (one, other) else { return };
        let [key, other_key] = tenants.map(|tenant| self.of(tenant, wanted, place));
        let (Some(key), Some(other_key)) = (key, other_key) else { return };
        assert_eq!(tenants[0] == tenants[1], key == other_key, "{key}");
        if tenants[0] != tenants[1] {
            // What is swept for one tenant is not another's.
            assert!(!key.as_str().starts_with(&other) && !other_key.as_str().starts_with(&one));
        }
    }

    /// Two calls of a day never share a key, whatever file is asked for.
    fn differ_by_call(&self, tenant: &TenantId, wanted: &Wanted, other: CallId) {
        if wanted.call_id.is_none() || wanted.call_id.as_ref() == Some(&other) {
            return;
        }
        let other = Wanted { call_id: Some(other), ..wanted.clone() };
        let places = [wanted, &other].map(|wanted| placed(wanted).expect("it has a date"));
        assert_ne!(places[0].name, places[1].name);
        let keys = [self.of(tenant, wanted, &places[0]), self.of(tenant, &other, &places[1])];
        if let [Some(key), Some(other)] = keys {
            assert_ne!(key, other);
        }
    }
}
