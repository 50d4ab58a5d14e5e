//! What an answer's status says where its body says nothing. Pure.

use crate::failure::{Class, Failure, Reason};

pub(super) fn neither() -> Failure {
    failed(Reason::CCFS_PROTOCOL, "CC-FS answered neither a recording nor a result code")
}

/// An answer whose body cannot be looked into, or need not be.
pub(super) fn opaque(status: u16) -> Failure {
    match status {
        200 => failed(
            Reason::CCFS_PROTOCOL,
            "CC-FS answered in a coding of its own, though only identity was accepted",
        ),
        _ => by_status(status),
    }
}

/// What an answer's status alone says, when its body holds no result code.
pub(super) fn by_status(status: u16) -> Failure {
    match status {
        401 => Failure::new(
            Class::Refused,
            Reason::CCFS_UNAUTHORIZED,
            "CC-FS refused the access key or the signature",
        ),
        403 | 418 | 429 | 502 => firewall(status),
        500..=599 => Failure::new(
            Class::Unavailable,
            Reason::ccfs_http(status),
            format!("CC-FS answered HTTP {status}"),
        ),
        300..=399 => failed(
            Reason::ccfs_http(status),
            format!("CC-FS answered with a redirection (HTTP {status}), which is not followed"),
        ),
        _ => failed(Reason::ccfs_http(status), format!("CC-FS answered HTTP {status}")),
    }
}

pub(super) fn no_code(status: u16) -> Failure {
    match status {
        200 => failed(Reason::CCFS_PROTOCOL, "CC-FS answered JSON without a result code"),
        status => by_status(status),
    }
}

pub(super) fn firewall(status: u16) -> Failure {
    Failure::new(
        Class::Throttled,
        Reason::CCFS_FIREWALL,
        format!("a firewall in front of CC-FS answered (HTTP {status})"),
    )
}

pub(super) fn failed(reason: Reason, detail: impl Into<String>) -> Failure {
    Failure::new(Class::Failure, reason, detail)
}
