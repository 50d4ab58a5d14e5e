//! Why a job did not archive, and what class of trouble that is.
//!
//! Every stage of the line ends in a [`Failure`] that already carries the decision: its
//! [`Class`] says what happens to the message (contract 5), its [`Reason`] is what people see in
//! logs, headers, events and metrics. A pure leaf: it knows no broker, no HTTP and no store.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What a failure does to its message; the table in contract 5, applied by `worker::line::policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An answer that is wrong for this recording: climbs the ladder and counts an attempt.
    Failure,
    /// CC-FS or the store cannot be reached, times out or answers 5xx: counted as a failure.
    Unavailable,
    /// Flow control, a firewall, SlowDown: parked, counts no attempt.
    Throttled,
    /// CC-FS does not have the recording yet: climbs the ladder until the window closes.
    NotReady,
    /// Credentials or permissions are refused: climbs the ladder, counts no attempt, loud.
    Refused,
    /// Neither the message nor its servers have to do with it: parked, counts no attempt.
    Held,
    /// The message can never succeed: dead at once.
    Permanent,
}

/// A reason code of contract 5, such as `ccfs.0300012` or `store.conflict`.
///
/// Built only from constants and from codes that a server sent, never from the message's body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    pub const MESSAGE_INVALID: Self = Self::fixed("message.invalid");
    pub const MESSAGE_NO_DATE: Self = Self::fixed("message.no_date");
    pub const MESSAGE_TOO_LARGE: Self = Self::fixed("message.too_large");
    pub const TENANT_UNKNOWN: Self = Self::fixed("tenant.unknown");
    pub const CCFS_UNAUTHORIZED: Self = Self::fixed("ccfs.unauthorized");
    pub const CCFS_TIMEOUT: Self = Self::fixed("ccfs.timeout");
    pub const CCFS_UNREACHABLE: Self = Self::fixed("ccfs.unreachable");
    pub const CCFS_FIREWALL: Self = Self::fixed("ccfs.firewall");
    pub const CCFS_EMPTY: Self = Self::fixed("ccfs.empty");
    pub const CCFS_TRUNCATED: Self = Self::fixed("ccfs.truncated");
    pub const CCFS_TOO_LARGE: Self = Self::fixed("ccfs.too_large");
    pub const CCFS_PROTOCOL: Self = Self::fixed("ccfs.protocol");
    /// A result code that is none; in metrics also one that is in no table.
    pub const CCFS_OTHER: Self = Self::fixed("ccfs.other");
    pub const STORE_UNREACHABLE: Self = Self::fixed("store.unreachable");
    pub const STORE_TIMEOUT: Self = Self::fixed("store.timeout");
    pub const STORE_CONFLICT: Self = Self::fixed("store.conflict");
    pub const JOB_DEADLINE: Self = Self::fixed("job.deadline");
    pub const JOB_PANICKED: Self = Self::fixed("job.panicked");
    pub const JOB_CRASHED: Self = Self::fixed("job.crashed");
    /// Parked: its tenant has all in flight that it may have.
    pub const JOB_NO_PLACE: Self = Self::fixed("job.no_place");
    /// Parked: no temporary file for a ZIP that is to be unpacked.
    pub const JOB_NO_DISK: Self = Self::fixed("job.no_disk");
    /// Parked: this machine has run out of file descriptors, local ports or memory.
    pub const JOB_NO_RESOURCES: Self = Self::fixed("job.no_resources");
    /// With `broker.events_mandatory`: no queue takes the event.
    pub const EVENT_UNROUTABLE: Self = Self::fixed("event.unroutable");
    /// Parked: the broker does not confirm its event, such as for a subscriber's full queue.
    pub const EVENT_REFUSED: Self = Self::fixed("event.refused");

    /// Codes without a parameter: the closed part of contract 5's list.
    pub const FIXED: &[Self] = &[
        Self::MESSAGE_INVALID,
        Self::MESSAGE_NO_DATE,
        Self::MESSAGE_TOO_LARGE,
        Self::TENANT_UNKNOWN,
        Self::CCFS_UNAUTHORIZED,
        Self::CCFS_TIMEOUT,
        Self::CCFS_UNREACHABLE,
        Self::CCFS_FIREWALL,
        Self::CCFS_EMPTY,
        Self::CCFS_TRUNCATED,
        Self::CCFS_TOO_LARGE,
        Self::CCFS_PROTOCOL,
        Self::CCFS_OTHER,
        Self::STORE_UNREACHABLE,
        Self::STORE_TIMEOUT,
        Self::STORE_CONFLICT,
        Self::JOB_DEADLINE,
        Self::JOB_PANICKED,
        Self::JOB_CRASHED,
        Self::JOB_NO_PLACE,
        Self::JOB_NO_DISK,
        Self::JOB_NO_RESOURCES,
        Self::EVENT_UNROUTABLE,
        Self::EVENT_REFUSED,
    ];

    const fn fixed(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// `ccfs.{resultCode}`; of more than nine characters, or of others than digits, it is
    /// [`Reason::CCFS_OTHER`]: a longer one may be a phone number, and it travels in headers,
    /// events and logs.
    pub fn ccfs(result_code: &str) -> Self {
        let is_code = (1..=9).contains(&result_code.len())
            && result_code.bytes().all(|byte| byte.is_ascii_digit());
        if is_code { Self(Cow::Owned(format!("ccfs.{result_code}"))) } else { Self::CCFS_OTHER }
    }

    /// `ccfs.http_{status}`.
    pub fn ccfs_http(status: u16) -> Self {
        Self(Cow::Owned(format!("ccfs.http_{status}")))
    }

    /// `store.{S3 error code}`; what is none counts as `store.http_{status}`.
    pub fn store(s3_code: &str, status: u16) -> Self {
        if Self::is_store_code(s3_code) {
            return Self(Cow::Owned(format!("store.{s3_code}")));
        }
        Self::store_http(status)
    }

    /// Whether a store's error code may be shown: a word, which may have dots and dashes
    /// (`KMS.NotFoundException`). What is mostly digits is none: it may be a phone number.
    pub fn is_store_code(code: &str) -> bool {
        const DIGITS: usize = 6;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let digits = code.bytes().filter(u8::is_ascii_digit).count();
        (1..=64).contains(&code.len())
            && code.bytes().all(plain)
            && code.bytes().any(|b| b.is_ascii_alphabetic())
            && digits <= DIGITS
    }

    /// `store.http_{status}`: an S3 error without a code.
    pub fn store_http(status: u16) -> Self {
        Self(Cow::Owned(format!("store.http_{status}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message can have this code, or one of the family that it names: `store` is every
    /// `store.…`. Servers may send codes that are in no table.
    pub fn is_code_or_family(text: &str) -> bool {
        let Some((family, code)) = text.split_once('.') else {
            return Self::families().any(|family| family == text);
        };
        let status = || code.strip_prefix("http_").is_some_and(|status| status.len() == 3);
        match family {
            _ if Self::FIXED.iter().any(|fixed| fixed.as_str() == text) => true,
            "ccfs" => status() || Self::ccfs(code).as_str() == text,
            "store" => Self::is_store_code(code),
            _ => false,
        }
    }

    /// What codes begin with.
    pub fn families() -> impl Iterator<Item = &'static str> {
        let families = Self::FIXED.iter().filter_map(|fixed| match &fixed.0 {
            Cow::Borrowed(code) => code.split_once('.').map(|(family, _)| family),
            Cow::Owned(_) => None,
        });
        families.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// Reads what was written down of a body of CC-FS; `None` for what cannot be ours.
    pub fn read_ccfs(code: &str) -> Option<Self> {
        let mut known = Self::FIXED.iter().filter(|fixed| fixed.ccfs_code().is_some());
        known.find(|fixed| fixed.as_str() == code).cloned()
    }

    /// The code without its family, where it is one of CC-FS: `0300012` of `ccfs.0300012`.
    pub fn ccfs_code(&self) -> Option<&str> {
        self.0.strip_prefix("ccfs.")
    }

    /// The same for the store: `SlowDown` of `store.SlowDown`.
    pub fn store_code(&self) -> Option<&str> {
        self.0.strip_prefix("store.")
    }

    /// Whether CC-FS itself said so, which it does only to a signature that it has accepted; a
    /// firewall or a load balancer asks for none.
    pub fn is_result_code(&self) -> bool {
        self.ccfs_code().is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A body that came to its end: enough to tell whether the same comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Bytes.
    pub size: u64,
    pub sha256: [u8; 32],
}

/// A body that its framing proves and its own content contradicts, each time it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    pub came: Came,
    /// What it was refused for.
    pub reason: Reason,
    /// How often it came.
    pub times: u32,
}

/// A stage's failure: a reason for people, a class for the message, the cause for the log.
///
/// `detail` explains the reason in a sentence. It travels in the `callvault-detail` header and in
/// events, so it never quotes a value of the message's body nor a secret.
#[derive(Clone, Debug)]
pub struct Failure {
    pub reason: Reason,
    pub class: Class,
    pub detail: String,
    /// What came all the same, where its framing proves that it is all that was sent.
    pub came: Option<Came>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Failure {
    pub fn new(class: Class, reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, class, detail: detail.into(), came: None, source: None }
    }

    /// A message that can never succeed.
    pub fn permanent(reason: Reason, detail: impl Into<String>) -> Self {
        Self::new(Class::Permanent, reason, detail)
    }

    /// The same trouble, where it does something else to its message.
    #[must_use]
    pub fn of_class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// Remembers what was refused.
    #[must_use]
    pub fn of(mut self, came: Came) -> Self {
        self.came = Some(came);
        self
    }

    /// Keeps the error that caused this one, for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_store_is_a_word() {
        for code in ["AccessDenied", "KMS.NotFoundException", "a-b_c.d", "XAmzSHA256Mismatch"] {
            assert_eq!(Reason::store(code, 400).as_str(), format!("store.{code}"));
        }
        let long = "x".repeat(65);
        for none in ["", "491711234567", "49-171-1234567", "tel.491711234567", "<b>", "a b", &long]
        {
            assert_eq!(Reason::store(none, 400).as_str(), "store.http_400");
        }
    }

    #[test]
    fn a_code_that_can_be_is_told_from_one_that_cannot() {
        for code in [
            "message.invalid",
            "store",
            "job",
            "ccfs.0300099",
            "ccfs.http_418",
            "ccfs.other",
            "store.SomeCode",
            "store.KMS",
            "store.http_503",
        ] {
            assert!(Reason::is_code_or_family(code), "{code}");
        }
        for none in [
            "mesage.invalid",
            "stor",
            "",
            ".",
            "store.",
            "message.",
            "ccfs.time",
            "ccfs.0123456789",
            "ccfs.http_4",
            "store.<b>",
            "other.code",
        ] {
            assert!(!Reason::is_code_or_family(none), "{none}");
        }
    }

    #[test]
    fn only_ccfs_itself_speaks_in_result_codes() {
        assert!(Reason::ccfs("0300012").is_result_code());
        for odd in ["", "0123456789", "491711234567", "E300012", "\u{663}"] {
            assert_eq!(Reason::ccfs(odd), Reason::CCFS_OTHER);
        }
        let others = [
            Reason::CCFS_FIREWALL,
            Reason::CCFS_TIMEOUT,
            Reason::ccfs_http(500),
            Reason::store("S1", 1),
        ];
        for other in others {
            assert!(!other.is_result_code(), "{other}");
        }
    }
}
