//! What the store answered instead of what it was asked for, and what that does to the message.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::failure::{Class, Failure, Reason};
use crate::metrics::StoreOperation;

/// A request that brought no usable answer.
#[derive(Debug)]
pub(super) struct Refusal {
    operation: StoreOperation,
    trouble: Trouble,
    /// For the log: what the network said. Never an answer's text, which may quote keys.
    cause: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// An S3 error, with its code where the answer had one.
    Answer {
        status: u16,
        code: Option<String>,
        about_condition: bool,
    },
    /// An answer that is none: cut, or no XML.
    Garbled {
        status: u16,
    },
    /// No answer: DNS, TCP, TLS, reset.
    Unreachable,
    Timeout,
    /// No credentials to sign with.
    NoCredentials,
    /// The SDK would not even build the request.
    NotSent,
}

/// The code under which a request without credentials is reported; S3 has none for it.
const NO_CREDENTIALS: &str = "NoCredentials";
/// The same for a request that the SDK does not build.
const NOT_SENT: &str = "RequestNotSent";

impl Refusal {
    pub(super) fn new<E>(operation: StoreOperation, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let trouble = Trouble::of(&error);
        let network = matches!(trouble, Trouble::Unreachable | Trouble::NoCredentials);
        let cause = network.then(|| told(&error));
        Self { operation, trouble, cause }
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
            Trouble::NotSent => NOT_SENT.to_owned(),
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

    /// The upload is not there: never was, was aborted, or has been completed.
    pub(super) fn upload_gone(&self) -> bool {
        self.code() == Some("NoSuchUpload")
    }

    /// The request may have been carried out although its answer did not arrive.
    pub(super) fn unheard(&self) -> bool {
        use Trouble::{Garbled, Timeout, Unreachable};
        matches!(self.trouble, Unreachable | Timeout | Garbled { .. })
    }

    /// The store does not know `If-None-Match` here, as far as one can tell: its 501 may be about
    /// something else in the request, its 400 names the header.
    pub(super) fn refuses_condition(&self) -> bool {
        match &self.trouble {
            Trouble::Answer { status, code, about_condition } => {
                let unknown = *status == 501 || code.as_deref() == Some("NotImplemented");
                unknown || (*status == 400 && *about_condition)
            }
            _ => false,
        }
    }

    /// The table of contract 5.
    pub(super) fn class(&self) -> Class {
        match &self.trouble {
            Trouble::Answer { status, code, .. } => class_of(*status, code.as_deref()),
            Trouble::Garbled { status } if *status >= 500 => Class::Unavailable,
            Trouble::Garbled { .. } | Trouble::NotSent => Class::Failure,
            Trouble::Unreachable | Trouble::Timeout => Class::Unavailable,
            Trouble::NoCredentials => Class::Refused,
        }
    }

    /// What it does to the message; names the operation and the bucket, never the key.
    pub(super) fn into_failure(self, bucket: &str) -> Failure {
        let detail = format!("{} in bucket {bucket}: {self}", verb(self.operation));
        let failure = Failure::new(self.class(), self.trouble.reason(), detail);
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
        match error {
            SdkError::ServiceError(answer) => {
                let about = |text: &str| text.to_ascii_lowercase().contains("if-none-match");
                Self::Answer {
                    status: answer.raw().status().as_u16(),
                    code: answer.err().code().filter(|code| !code.is_empty()).map(str::to_owned),
                    about_condition: answer.err().message().is_some_and(about),
                }
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
            Self::NoCredentials => Reason::store(NO_CREDENTIALS, 0),
            Self::NotSent => Reason::store(NOT_SENT, 0),
        }
    }
}

fn has_no_credentials(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| error.is::<CredentialsError>())
}

/// What each error of the chain says of itself. The SDK's own rendering of a chain adds their
/// `Debug`, which holds whole answers, those of a credentials endpoint too.
fn told(error: &(dyn StdError + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// S3's error codes, as the S3 API reference lists them, and what they mean here.
fn class_of(status: u16, code: Option<&str>) -> Class {
    match (status, code) {
        (
            _,
            Some(
                "AccessDenied"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "NoSuchBucket"
                | "ExpiredToken"
                | "InvalidToken"
                | "RequestTimeTooSkewed",
            ),
        ) => Class::Refused,
        // A refusal by something that speaks no S3, or the answer to a HEAD, which has no body.
        (401 | 403, None) => Class::Refused,
        // The last two are 409s; CompleteMultipartUpload may say so inside a 200.
        (
            _,
            Some(
                "SlowDown"
                | "ServiceUnavailable"
                | "TooManyRequests"
                | "ConditionalRequestConflict"
                | "OperationAborted",
            ),
        )
        | (409 | 429, _) => Class::Throttled,
        (_, Some("KeyTooLongError" | "EntityTooLarge")) => Class::Permanent,
        (500.., _) | (_, Some("InternalError")) => Class::Unavailable,
        _ => Class::Failure,
    }
}

fn verb(operation: StoreOperation) -> &'static str {
    match operation {
        StoreOperation::Put => "PutObject",
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
        self.trouble.fmt(f)
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
            Self::Answer { status, code: Some(_), .. } => {
                // The reason holds the code only where it is a plain word.
                write!(f, "status {status}, {}", self.reason())
            }
            Self::Answer { status, .. } => write!(f, "status {status} without an S3 code"),
            Self::Garbled { status } => write!(f, "status {status} with a broken answer"),
            Self::Unreachable => f.write_str("the store cannot be reached"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::NoCredentials => f.write_str("there are no credentials to sign with"),
            Self::NotSent => f.write_str("the request could not be built"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&str>) -> Refusal {
        let code = code.map(str::to_owned);
        let trouble = Trouble::Answer { status, code, about_condition: false };
        Refusal { operation: StoreOperation::Put, trouble, cause: None }
    }

    #[test]
    fn the_table_of_the_contract() {
        let table = [
            (403, Some("AccessDenied"), Class::Refused, "store.AccessDenied"),
            (403, Some("InvalidAccessKeyId"), Class::Refused, "store.InvalidAccessKeyId"),
            (403, Some("SignatureDoesNotMatch"), Class::Refused, "store.SignatureDoesNotMatch"),
            (404, Some("NoSuchBucket"), Class::Refused, "store.NoSuchBucket"),
            (400, Some("ExpiredToken"), Class::Refused, "store.ExpiredToken"),
            (400, Some("InvalidToken"), Class::Refused, "store.InvalidToken"),
            (403, Some("RequestTimeTooSkewed"), Class::Refused, "store.RequestTimeTooSkewed"),
            (403, None, Class::Refused, "store.http_403"),
            (503, Some("SlowDown"), Class::Throttled, "store.SlowDown"),
            (503, Some("ServiceUnavailable"), Class::Throttled, "store.ServiceUnavailable"),
            (429, Some("TooManyRequests"), Class::Throttled, "store.TooManyRequests"),
            (409, Some("OperationAborted"), Class::Throttled, "store.OperationAborted"),
            (409, None, Class::Throttled, "store.http_409"),
            (503, None, Class::Unavailable, "store.http_503"),
            (500, Some("InternalError"), Class::Unavailable, "store.InternalError"),
            (502, None, Class::Unavailable, "store.http_502"),
            (400, Some("KeyTooLongError"), Class::Permanent, "store.KeyTooLongError"),
            (400, Some("EntityTooLarge"), Class::Permanent, "store.EntityTooLarge"),
            (400, Some("BadDigest"), Class::Failure, "store.BadDigest"),
            (403, Some("AllAccessDisabled"), Class::Failure, "store.AllAccessDisabled"),
            (302, None, Class::Failure, "store.http_302"),
        ];
        for (status, code, class, reason) in table {
            let failure = answer(status, code).into_failure("recordings");
            assert_eq!((failure.class, failure.reason.as_str()), (class, reason), "{status}");
            assert!(failure.detail.contains("PutObject in bucket recordings"), "{failure}");
            assert!(failure.detail.contains(&status.to_string()), "{failure}");
        }
    }

    #[test]
    fn a_code_that_is_no_word_reaches_nobody() {
        let failure = answer(400, Some("<b>+49 30 1234</b>")).into_failure("recordings");
        assert_eq!(failure.reason.as_str(), "store.http_400");
        assert!(!failure.detail.contains("1234"), "{failure}");
    }

    #[test]
    fn only_some_errors_leave_the_outcome_open() {
        let with = |trouble| Refusal { operation: StoreOperation::Put, trouble, cause: None };
        assert!(with(Trouble::Unreachable).unheard());
        assert!(with(Trouble::Timeout).unheard());
        assert!(with(Trouble::Garbled { status: 200 }).unheard());
        assert!(!answer(500, None).unheard());
        assert!(!with(Trouble::NoCredentials).unheard());
    }
}
