//! What the store answered instead of what it was asked for, and what that does to the message.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::codes::{Topic, class_of, is_of_the_account, is_of_the_key, is_of_the_way, mend};
use super::trouble::{NO_CREDENTIALS, NOT_SENT, Trouble, root_cause, told};
use crate::failure::{Class, Failure};
use crate::metrics::StoreOperation;
use crate::trust;

/// A request that brought no usable answer.
#[derive(Debug)]
pub(super) struct Refusal {
    operation: StoreOperation,
    trouble: Trouble,
    /// For the log: what the network said. Never an answer's text, which may quote keys.
    cause: Option<String>,
    /// The last of it, where there was no connection.
    root: Option<String>,
}

const NO_STORE: &str = ": what answers is no S3, or has no bucket at this address; correct \
                        store.endpoint, store.bucket or store.path_style";

impl Refusal {
    pub(super) fn new<E>(operation: StoreOperation, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let trouble = Trouble::of(&error);
        let network =
            matches!(trouble, Trouble::Unreachable | Trouble::Lack(_) | Trouble::NoCredentials);
        let cause = network.then(|| told(&error));
        let root = (trouble == Trouble::Unreachable).then(|| root_cause(&error).to_string());
        Self { operation, trouble, cause, root }
    }

    fn of(operation: StoreOperation, trouble: Trouble) -> Self {
        Self { operation, trouble, cause: None, root: None }
    }

    /// A listing that leads nowhere, or back to itself.
    pub(super) fn endless(operation: StoreOperation) -> Self {
        Self::of(operation, Trouble::Endless)
    }

    /// An answer that is whole, and not what was asked for.
    pub(super) fn cut(operation: StoreOperation) -> Self {
        Self::of(operation, Trouble::Garbled { status: 200 })
    }

    /// An answer that began, and did not come to its end: `cause` is what the network said.
    pub(super) fn broke_off(operation: StoreOperation, cause: String) -> Self {
        Self { cause: Some(cause), ..Self::of(operation, Trouble::Unreachable) }
    }

    /// The same, for want of time.
    pub(super) fn slow(operation: StoreOperation) -> Self {
        Self::of(operation, Trouble::Timeout)
    }

    /// An object of which nothing says how long it is.
    pub(super) fn no_size() -> Self {
        Self::of(StoreOperation::Head, Trouble::NoSize)
    }

    /// A success that is none.
    pub(super) fn not_s3(operation: StoreOperation) -> Self {
        Self::of(operation, Trouble::NotS3)
    }

    /// For people who set it up: whom nobody answered `at`, and what the network said.
    pub(super) fn in_full(&self, at: &str) -> String {
        match (&self.trouble, &self.root) {
            (Trouble::Unreachable, Some(root)) => format!("{at}: {}", plain(root)),
            (Trouble::Timeout, _) => format!("{at}: {self}"),
            _ => self.to_string(),
        }
    }

    /// What the network said, all of it.
    pub(super) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Why the store takes nothing of whoever signs so, whatever is asked.
    pub(super) fn is_about_the_key(&self) -> bool {
        self.code().is_some_and(is_of_the_key)
    }

    /// The `result` label of `callvault_store_requests_total`.
    pub(super) fn label(&self) -> String {
        match &self.trouble {
            Trouble::Answer { code: Some(code), .. } => code.clone(),
            Trouble::Answer { status, .. } | Trouble::Garbled { status } => {
                format!("http_{status}")
            }
            Trouble::Unreachable => "unreachable".to_owned(),
            Trouble::Timeout => "timeout".to_owned(),
            Trouble::NoCredentials => NO_CREDENTIALS.to_owned(),
            // It went nowhere either.
            Trouble::NotSent | Trouble::Lack(_) => NOT_SENT.to_owned(),
            Trouble::Endless | Trouble::NoSize | Trouble::NotS3 => "http_200".to_owned(),
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self.trouble {
            Trouble::Answer { status, .. } | Trouble::Garbled { status } => Some(status),
            _ => None,
        }
    }

    fn code(&self) -> Option<&str> {
        match &self.trouble {
            Trouble::Answer { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Something is under the key already (RFC 9110, 13.1.2).
    pub(super) fn exists(&self) -> bool {
        // CompleteMultipartUpload may say so inside a 200.
        self.status() == Some(412) || self.code() == Some("PreconditionFailed")
    }

    /// Over its quota, or unpaid.
    pub(super) fn is_of_the_account(&self) -> bool {
        matches!(self.status(), Some(402 | 507)) || self.code().is_some_and(is_of_the_account)
    }

    /// The object's storage class keeps it from being read before it is restored. That is about
    /// this object, whatever the status says of credentials.
    pub(super) fn is_frozen(&self) -> bool {
        self.code() == Some("InvalidObjectState")
    }

    /// Refused without a word, as a HEAD is. What a 403 or a 404 says of a HEAD is known.
    pub(super) fn keeps_its_reason(&self) -> bool {
        let refused = |status| matches!(status, 300..=402 | 405..=499);
        self.code().is_none() && self.status().is_some_and(refused)
    }

    /// The upload is not there: never was, was aborted, or has been completed.
    pub(super) fn upload_gone(&self) -> bool {
        self.code() == Some("NoSuchUpload")
    }

    /// The request may have been carried out although its answer did not arrive.
    pub(super) fn unheard(&self) -> bool {
        match self.trouble {
            Trouble::Unreachable | Trouble::Timeout => true,
            Trouble::Garbled { status } => !(300..500).contains(&status),
            // Somebody between may have written over the answer.
            Trouble::NotS3 => true,
            _ => false,
        }
    }

    /// What a web server says to who creates an object: that it has no such place, or knows no such
    /// method. A store that refuses this object says why.
    pub(super) fn is_of_a_web_server(&self) -> bool {
        let creates =
            matches!(self.operation, StoreOperation::Put | StoreOperation::CreateMultipart);
        let mute = |trouble: &Trouble| {
            matches!(trouble, Trouble::Answer { status: 400 | 404 | 405, coded: false, .. })
        };
        creates && mute(&self.trouble)
    }

    /// Another try would bring the same: neither overload nor an outage.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self.class(), Class::Throttled | Class::Unavailable) || self.refuses_condition()
    }

    /// The store does not know `If-None-Match` here, as far as one can tell: its 501 may be about
    /// something else in the request, its 400 names the header.
    pub(super) fn refuses_condition(&self) -> bool {
        match &self.trouble {
            Trouble::Answer { status, code, about, .. } => {
                let unknown = *status == 501 || code.as_deref() == Some("NotImplemented");
                unknown || *about == Some(Topic::Condition)
            }
            _ => false,
        }
    }

    /// It names a checksum: one that does not fit, is not known, or is missing.
    pub(super) fn is_about_a_checksum(&self) -> bool {
        let about = match &self.trouble {
            Trouble::Answer { about, .. } => *about,
            _ => None,
        };
        matches!(about, Some(Topic::Checksum | Topic::Digest))
    }

    /// The store does not know the checksum here, or reckons otherwise.
    pub(super) fn refuses_checksum(&self) -> bool {
        self.status() == Some(501) || self.is_about_a_checksum()
    }

    /// Another proof of the same body might have been taken: the checksum may not be known, or a body
    /// that is not signed not allowed, as policies of buckets have it. A body that does not fit its
    /// checksum has been damaged on its way; that is about the way.
    pub(super) fn may_be_about_the_proof(&self) -> bool {
        match &self.trouble {
            Trouble::Answer { status: 501, .. } => true,
            Trouble::Answer { status: 403, code, .. } => {
                code.as_deref().is_none_or(|code| code == "AccessDenied")
            }
            Trouble::Answer { status: 400, code: Some(code), about, .. } => {
                let ours = self.is_about_a_checksum()
                    || (about.is_none() && self.class() == Class::Failure);
                ours && !is_of_the_way(code)
            }
            _ => false,
        }
    }

    /// It says nothing of what was sent, as in an outage.
    pub(super) fn may_be_chance(&self) -> bool {
        !self.exists() && matches!(self.class(), Class::Unavailable | Class::Failure)
    }

    /// The table of contract 5.
    pub(super) fn class(&self) -> Class {
        match &self.trouble {
            // A HEAD asks for nothing that could be wrong with one object.
            Trouble::Answer { status: 400, code: None, .. }
                if self.operation == StoreOperation::Head =>
            {
                Class::Refused
            }
            _ if self.is_of_a_web_server() => Class::Refused,
            Trouble::Answer { status, code, about, .. } => {
                class_of(*status, code.as_deref(), *about)
            }
            Trouble::Garbled { status } => class_of(*status, None, None),
            Trouble::Endless => Class::Failure,
            Trouble::Unreachable | Trouble::Timeout => Class::Unavailable,
            // What goes into a request but for the configuration is made to fit.
            Trouble::NotSent => Class::Refused,
            Trouble::NoCredentials | Trouble::NoSize | Trouble::NotS3 => Class::Refused,
            Trouble::Lack(_) => Class::Held,
        }
    }

    /// What it does to the message; names the operation and the bucket, never the key.
    /// Who did not answer is named as it is known `at`.
    pub(super) fn into_failure(self, bucket: &str, at: &str) -> Failure {
        let failure = match &self.trouble {
            Trouble::Lack(lack) => lack.failure(),
            _ => {
                let mut said = self.in_full(at);
                if let Some(mend) = mend(&self.label()) {
                    said = format!("{said}; {mend}");
                }
                let detail = format!("{} in bucket {bucket}: {said}", verb(self.operation));
                Failure::new(self.class(), self.trouble.reason(), detail)
            }
        };
        match self.cause {
            Some(cause) => failure.because(cause),
            None => failure,
        }
    }
}

/// What the network said, in the words of people.
fn plain(root: &str) -> String {
    if trust::is_no_tls(root) {
        return "what answers does not speak TLS (https:// in store.endpoint)".to_owned();
    }
    if root.contains("invalid HTTP version") {
        return "what answers does not speak plain HTTP (http:// in store.endpoint); TLS, perhaps"
            .to_owned();
    }
    let said = root.split(" (os error").next().unwrap_or(root);
    let mut letters = said.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// As S3's own reference has it.
pub(super) fn verb(operation: StoreOperation) -> &'static str {
    match operation {
        StoreOperation::Put => "PutObject",
        StoreOperation::Get => "GetObject",
        StoreOperation::Head => "HeadObject",
        StoreOperation::CreateMultipart => "CreateMultipartUpload",
        StoreOperation::UploadPart => "UploadPart",
        StoreOperation::CompleteMultipart => "CompleteMultipartUpload",
        StoreOperation::AbortMultipart => "AbortMultipartUpload",
        StoreOperation::ListMultipart => "ListMultipartUploads",
        StoreOperation::List => "ListObjectsV2",
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trouble.fmt(f)?;
        match self.is_of_a_web_server() {
            true => f.write_str(NO_STORE),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&str>, about: Option<Topic>) -> Refusal {
        let code = code.map(str::to_owned);
        let trouble = Trouble::Answer { status, code, coded: true, about };
        Refusal::of(StoreOperation::Put, trouble)
    }

    #[test]
    fn a_failure_names_the_operation_the_bucket_and_the_code() {
        let table = [
            (403, Some("AccessDenied"), Class::Refused, "store.AccessDenied"),
            (400, Some("KMS.NotFoundException"), Class::Refused, "store.KMS.NotFoundException"),
            (403, None, Class::Refused, "store.http_403"),
            (302, None, Class::Failure, "store.http_302"),
        ];
        for (status, code, class, reason) in table {
            let failure = answer(status, code, None).into_failure("recordings", "h");
            assert_eq!((failure.class, failure.reason.as_str()), (class, reason), "{status}");
            assert!(failure.detail.contains("PutObject in bucket recordings"), "{failure}");
            assert!(failure.detail.contains(&status.to_string()), "{failure}");
        }
    }

    #[test]
    fn who_has_to_change_a_setting_is_told_which() {
        for (about, setting) in
            [(Topic::Checksum, "store.checksum"), (Topic::Lock, "store.object_lock_days")]
        {
            let failure = answer(400, Some("InvalidRequest"), Some(about)).into_failure("b", "h");
            assert_eq!(failure.class, Class::Refused);
            assert!(failure.detail.contains(setting), "{failure}");
        }
    }

    #[test]
    fn what_is_wrong_with_every_object_is_refused() {
        let with = |operation, trouble| Refusal::of(operation, trouble).into_failure("b", "h");
        let mute = |status| Trouble::Answer { status, code: None, coded: false, about: None };
        assert_eq!(with(StoreOperation::Head, Trouble::NotSent).class, Class::Refused);
        for status in [400, 404, 405] {
            for operation in [StoreOperation::Put, StoreOperation::CreateMultipart] {
                let failure = with(operation, mute(status));
                assert_eq!(failure.class, Class::Refused, "{status}");
                assert!(failure.detail.contains("store.endpoint"), "{failure}");
            }
            let part = with(StoreOperation::UploadPart, mute(status));
            assert_eq!(part.class, Class::Failure, "{status}");
        }
        assert_eq!(with(StoreOperation::Put, mute(418)).class, Class::Failure);
    }

    #[test]
    fn what_may_be_about_the_proof_of_a_body_is_told_from_the_rest() {
        let table = [
            // Unknown, or not allowed without a signature.
            (501, Some("NotImplemented"), None, true),
            (403, Some("AccessDenied"), None, true),
            (403, None, None, true),
            (400, Some("InvalidRequest"), Some(Topic::Checksum), true),
            (400, Some("InvalidArgument"), Some(Topic::Digest), true),
            (400, Some("XAmzContentSHA256Mismatch"), None, true),
            // Damaged on the way; the key, the account, the condition; an outage.
            (400, Some("BadDigest"), Some(Topic::Digest), false),
            (400, Some("RequestTimeout"), None, false),
            (403, Some("InvalidAccessKeyId"), None, false),
            (400, Some("ExpiredToken"), None, false),
            (400, Some("InvalidArgument"), Some(Topic::Condition), false),
            (412, Some("PreconditionFailed"), None, false),
            (503, Some("SlowDown"), None, false),
        ];
        for (status, code, about, expected) in table {
            let refusal = answer(status, code, about);
            assert_eq!(refusal.may_be_about_the_proof(), expected, "{status} {code:?}");
        }
        let unheard = Refusal::of(StoreOperation::Put, Trouble::Unreachable);
        assert!(!unheard.may_be_about_the_proof() && unheard.may_be_chance());
        assert!(!answer(412, Some("PreconditionFailed"), None).may_be_chance());
    }

    #[test]
    fn only_some_errors_leave_the_outcome_open() {
        let with = |trouble| Refusal::of(StoreOperation::Put, trouble);
        assert!(with(Trouble::Unreachable).unheard());
        assert!(with(Trouble::Timeout).unheard());
        assert!(with(Trouble::Garbled { status: 200 }).unheard());
        assert!(with(Trouble::Garbled { status: 502 }).unheard());
        assert!(!with(Trouble::Garbled { status: 403 }).unheard());
        assert!(!answer(500, None, None).unheard());
        assert!(!with(Trouble::NoCredentials).unheard());
    }
}
