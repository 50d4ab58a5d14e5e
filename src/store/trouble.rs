//! What came of a request to the store, told apart: an error of S3, an answer that is none, silence.
//!
//! Must not know what follows from it for a message.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::codes::Topic;
use super::credentials::Why;
use crate::config::SecretError;
use crate::failure::Reason;
use crate::machine::Lack;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
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
pub(super) const NO_CREDENTIALS: &str = "NoCredentials";
/// The same for a request that the SDK does not build.
pub(super) const NOT_SENT: &str = "RequestNotSent";

const WANTS_CHECKSUM: &str =
    ": the bucket takes nothing without a checksum; set store.checksum to \"md5\" or \"crc64nvme\"";
const HAS_NO_LOCK: &str =
    ": the bucket has no object lock; set store.object_lock_days to 0, or use a bucket that has it";

impl Trouble {
    pub(super) fn of<E>(error: &SdkError<E>) -> Self
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

    pub(super) fn reason(&self) -> Reason {
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
pub(super) fn told(error: &(dyn StdError + 'static)) -> String {
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

/// An error in words, for a request that the worker never sends, and so never counts.
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
                    Some(Topic::Condition | Topic::Digest) | None => Ok(()),
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
}
