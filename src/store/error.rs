//! What the store answered instead of what it was asked for, and what that does to the message.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::codes::{Topic, class_of, is_of_the_account};
use super::credentials::Why;
use crate::config::SecretError;
use crate::failure::{Class, Failure, Reason};
use crate::machine::Lack;
use crate::metrics::StoreOperation;

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

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// An S3 error, with its code where the answer had one that may be shown.
    Answer {
        status: u16,
        code: Option<String>,
        /// It had one of whatever kind, as only who speaks S3 has.
        coded: bool,
        about: Option<Topic>,
    },
    /// An answer that is none: cut, or no XML.
    Garbled {
        status: u16,
    },
    /// No answer: DNS, TCP, TLS, reset.
    Unreachable,
    Timeout,
    /// This machine lacked what a connection takes.
    Lack(Lack),
    /// No credentials to sign with.
    NoCredentials,
    /// The SDK would not even build the request.
    NotSent,
    /// A page of a listing that leads nowhere, or back to itself.
    Endless,
    /// Neither HEAD nor a listing says how long an object is.
    NoSize,
    /// A 200 that no S3 server gives: of a web page, say.
    NotS3,
}

/// The code under which a request without credentials is reported; S3 has none for it.
const NO_CREDENTIALS: &str = "NoCredentials";
/// The same for a request that the SDK does not build.
const NOT_SENT: &str = "RequestNotSent";

const WANTS_CHECKSUM: &str =
    ": the bucket takes nothing without a checksum; set store.checksum to \"md5\" or \"crc64nvme\"";
const NO_STORE: &str = ": what answers is no S3, or has no bucket at this address; correct \
                        store.endpoint, store.bucket or store.path_style";
const HAS_NO_LOCK: &str =
    ": the bucket has no object lock; set store.object_lock_days to 0, or use a bucket that has it";

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

    /// For people who set it up: with what the network said.
    pub(super) fn in_full(&self) -> String {
        match &self.root {
            Some(root) => format!("{self}: {root}"),
            None => self.to_string(),
        }
    }

    /// The server's certificate is that of a CA, which rustls takes for no server's.
    pub(super) fn is_ca_as_server(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause.contains("CaUsedAsEndEntity"))
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
    pub(super) fn into_failure(self, bucket: &str) -> Failure {
        let failure = match self.trouble {
            Trouble::Lack(lack) => lack.failure(),
            _ => {
                let detail = format!("{} in bucket {bucket}: {self}", verb(self.operation));
                Failure::new(self.class(), self.trouble.reason(), detail)
            }
        };
        match self.cause {
            Some(cause) => failure.because(cause),
            None => failure,
        }
    }
}

impl Trouble {
    fn of<E>(error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        if let Some(lack) = Lack::behind(error) {
            return Self::Lack(lack);
        }
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code();
                let coded = code.is_some();
                // A success, whole, that is nothing that S3 says.
                if !coded && answer.raw().status().is_success() {
                    return Self::NotS3;
                }
                // What is no code is never kept: a proxy of the field's wrote a phone number there.
                let code = code.filter(|code| Reason::is_store_code(code));
                let about = Topic::of(status, code, answer.err().message().unwrap_or_default());
                Self::Answer { status, code: code.map(str::to_owned), coded, about }
            }
            SdkError::ResponseError(answer) => {
                Self::Garbled { status: answer.raw().status().as_u16() }
            }
            SdkError::TimeoutError(_) => Self::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Timeout,
            SdkError::DispatchFailure(_) if has_no_credentials(error) => Self::NoCredentials,
            SdkError::DispatchFailure(_) => Self::Unreachable,
            SdkError::ConstructionFailure(_) if has_no_credentials(error) => Self::NoCredentials,
            _ => Self::NotSent,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Answer { status, code: Some(code), .. } => Reason::store(code, *status),
            Self::Answer { status, .. } | Self::Garbled { status } => Reason::store_http(*status),
            Self::Unreachable => Reason::STORE_UNREACHABLE,
            Self::Timeout => Reason::STORE_TIMEOUT,
            Self::Lack(_) => Reason::JOB_NO_RESOURCES,
            Self::NoCredentials => Reason::store(NO_CREDENTIALS, 0),
            Self::NotSent => Reason::store(NOT_SENT, 0),
            Self::Endless | Self::NoSize | Self::NotS3 => Reason::store_http(200),
        }
    }
}

fn has_no_credentials(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| error.is::<CredentialsError>())
}

/// What each error of the chain says of itself. The SDK's own rendering of a chain adds their
/// `Debug`, which holds whole answers, those of a credentials endpoint too.
///
/// One about credentials may quote what a program printed: of those only our own are told.
fn told(error: &(dyn StdError + 'static)) -> String {
    let mut private = false;
    let told = chain(error).filter(|error| {
        private |= error.is::<CredentialsError>();
        !private || error.is::<Why>() || error.is::<SecretError>()
    });
    told.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What the socket, the resolver or TLS said.
pub(super) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    chain(error).last().unwrap_or(error)
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn verb(operation: StoreOperation) -> &'static str {
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

/// The same for a request that the worker never sends, and so never counts.
pub(super) fn plainly<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    Trouble::of(error).to_string()
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, code: None, .. } => {
                write!(f, "status {status} without an S3 code")
            }
            Self::Answer { status, about, .. } => {
                write!(f, "status {status}, {}", self.reason())?;
                match about {
                    Some(Topic::Checksum) => f.write_str(WANTS_CHECKSUM),
                    Some(Topic::Lock) => f.write_str(HAS_NO_LOCK),
                    Some(Topic::Condition) | None => Ok(()),
                }
            }
            Self::Garbled { status } => write!(f, "status {status} with a broken answer"),
            Self::Unreachable => f.write_str("the store cannot be reached"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Lack(lack) => write!(f, "this machine has {lack}"),
            Self::NoCredentials => f.write_str("there are no credentials to sign with"),
            Self::NotSent => {
                f.write_str("the request could not be built; correct what store.* puts into it")
            }
            Self::Endless => f.write_str("a listing that does not move on"),
            Self::NoSize => f.write_str("status 200 that does not say how long the object is"),
            Self::NotS3 => {
                f.write_str("status 200, but not as S3 answers: store.endpoint is something else")
            }
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
            let failure = answer(status, code, None).into_failure("recordings");
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
            let failure = answer(400, Some("InvalidRequest"), Some(about)).into_failure("b");
            assert_eq!(failure.class, Class::Refused);
            assert!(failure.detail.contains(setting), "{failure}");
        }
    }

    #[test]
    fn what_is_wrong_with_every_object_is_refused() {
        let with = |operation, trouble| Refusal::of(operation, trouble).into_failure("b");
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
    fn what_a_program_printed_is_not_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("not signed")]
        struct Unsigned(#[source] CredentialsError);
        let printed = CredentialsError::provider_error("exited with 1. Stderr: hunter2");
        assert_eq!(told(&Unsigned(printed)), "not signed");
        let ours = CredentialsError::provider_error(Why::Late);
        assert_eq!(told(&Unsigned(ours)), "not signed: none came in time");
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
