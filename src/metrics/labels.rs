//! The label values of the metrics: closed sets, so that no server and no sender can grow the
//! number of series (contract 7).

use std::collections::BTreeSet;

use crate::failure::Reason;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration: `ALL[value as usize] == value`.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }
    };
}

label!(
    /// How a job ended, `outcome` of `callvault_jobs_total` and `callvault_job_duration_seconds`.
    /// A job that is given back on drain has none.
    JobOutcome {
        Archived => "archived",
        /// Another try or message had stored it.
        AlreadyArchived => "already_archived",
        Absent => "absent",
        /// Published to a retry queue, whether it counted an attempt or was parked.
        Retried => "retried",
        Dead => "dead",
        /// A dump became one message a recording.
        Expanded => "expanded",
    }
);

label!(
    /// A step of the line that waits for a server.
    Stage {
        Download => "download",
        Upload => "upload",
        Announce => "announce",
    }
);

label!(
    /// How a [`Stage`] ended.
    StageResult {
        Ok => "ok",
        Error => "error",
        /// The deadline, the drain or another stage's failure stopped it.
        Canceled => "canceled",
    }
);

label!(
    /// A kind of S3 request.
    StoreOperation {
        Put => "put",
        Get => "get",
        Head => "head",
        CreateMultipart => "create_multipart",
        UploadPart => "upload_part",
        CompleteMultipart => "complete_multipart",
        AbortMultipart => "abort_multipart",
        ListMultipart => "list_multipart",
        List => "list",
    }
);

label!(
    /// What became of a delivery, `how` of `callvault_messages_settled_total`.
    Settled {
        Acked => "acked",
        /// By nack, or because its channel died.
        GivenBack => "given_back",
    }
);

label!(
    /// What came of reading the configuration again, `result` of `callvault_config_reloads_total`.
    Reload {
        Ok => "ok",
        /// The one before it stays in force.
        Error => "error",
    }
);

/// What has a circuit breaker, `target` of `callvault_breaker_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerTarget<'a> {
    /// The CC-FS with this first endpoint.
    Ccfs(&'a str),
    /// The store at this place: `{endpoint or region}/{bucket}`.
    Store(&'a str),
    /// The exchange that events go to.
    Events,
}

impl std::fmt::Display for BreakerTarget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ccfs(endpoint) => write!(f, "ccfs:{endpoint}"),
            Self::Store(place) => write!(f, "store:{place}"),
            Self::Events => f.write_str("events"),
        }
    }
}

/// A request that did what it was meant to do.
pub const OK: &str = "ok";
/// A code in no table, where the label does not name the server.
pub(super) const OTHER: &str = "other";
const CCFS_OTHER: &str = "ccfs.other";
const STORE_OTHER: &str = "store.other";

/// Statuses that servers, proxies and load balancers are known to answer with.
const HTTP_STATUSES: &[u16] = &[
    200, 301, 302, 307, 400, 401, 403, 404, 405, 408, 409, 412, 413, 429, 500, 501, 502, 503, 504,
    507,
];

/// Error codes of S3 and of the stores that speak it, for the requests that callvault sends
/// (Amazon S3 API reference, "Error responses"), and the two that `store` says of requests that
/// never went out: `NoCredentials`, `RequestNotSent`.
const S3_CODES: &[&str] = &[
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "BadDigest",
    "ConditionalRequestConflict",
    "EntityTooLarge",
    "EntityTooSmall",
    "ExpiredToken",
    "IllegalLocationConstraintException",
    "InArrearOrInsufficientBalance",
    "IncompleteBody",
    "InsufficientCapacity",
    "InsufficientStorageSpace",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidBucketName",
    "InvalidDigest",
    "InvalidPart",
    "InvalidPartOrder",
    "InvalidRequest",
    "InvalidStorageClass",
    "InvalidTag",
    "InvalidToken",
    "KMS.DisabledException",
    "KMS.NotFoundException",
    "KeyTooLong",
    "KeyTooLongError",
    "MetadataTooLarge",
    "MethodNotAllowed",
    "MissingContentLength",
    "MissingContentMD5",
    "NoCredentials",
    "NoSuchBucket",
    "NoSuchKey",
    "NoSuchUpload",
    "NotFound",
    "NotImplemented",
    "NotSignedUp",
    "OperationAborted",
    "PermanentRedirect",
    "PreconditionFailed",
    "QuotaExceeded",
    "RequestNotSent",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "TemporaryRedirect",
    "TokenRefreshRequired",
    "TooManyRequests",
    "VirtualHostDomainRequired",
    "XAmzContentSHA256Mismatch",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
];

/// The codes that have a label value of their own; all others share one a family.
#[derive(Debug)]
pub(super) struct Codes {
    reasons: BTreeSet<String>,
    responses: BTreeSet<String>,
    results: BTreeSet<String>,
}

impl Codes {
    /// `ccfs_codes`: the result codes of the vendor's table and of the configuration.
    pub(super) fn new(ccfs_codes: &BTreeSet<String>) -> Self {
        let statuses = || HTTP_STATUSES.iter().map(|status| format!("http_{status}"));
        let fixed = |family: &'static str| {
            Reason::FIXED.iter().filter_map(move |reason| family_code(reason.as_str(), family))
        };

        let mut ccfs: BTreeSet<String> = fixed("ccfs").map(str::to_owned).collect();
        ccfs.extend(ccfs_codes.iter().cloned().chain(statuses()));
        let mut store: BTreeSet<String> = fixed("store").map(str::to_owned).collect();
        store.extend(S3_CODES.iter().map(|&code| code.to_owned()).chain(statuses()));

        let mut reasons: BTreeSet<String> =
            Reason::FIXED.iter().map(|reason| reason.as_str().to_owned()).collect();
        reasons.extend(ccfs.iter().map(|code| format!("ccfs.{code}")));
        reasons.extend(store.iter().map(|code| format!("store.{code}")));
        reasons.extend([CCFS_OTHER, STORE_OTHER, OTHER].map(str::to_owned));

        let and_ends = |codes: BTreeSet<String>| {
            codes.into_iter().chain([OK, OTHER].map(str::to_owned)).collect()
        };
        Self { reasons, responses: and_ends(ccfs), results: and_ends(store) }
    }

    /// Every value of `result` of `callvault_store_requests_total`.
    pub(super) fn results(&self) -> impl Iterator<Item = &str> {
        self.results.iter().map(String::as_str)
    }

    pub(super) fn reason<'a>(&self, reason: &'a Reason) -> &'a str {
        let value = reason.as_str();
        if self.reasons.contains(value) {
            return value;
        }
        match value.split_once('.') {
            Some(("ccfs", _)) => CCFS_OTHER,
            Some(("store", _)) => STORE_OTHER,
            _ => OTHER,
        }
    }

    /// `code` as CC-FS sent it or as a reason says it (`ccfs.timeout`).
    pub(super) fn response<'a>(&self, code: &'a str) -> &'a str {
        known(&self.responses, family_code(code, "ccfs").unwrap_or(code))
    }

    /// `code` as the store sent it or as a reason says it (`store.timeout`).
    pub(super) fn result<'a>(&self, code: &'a str) -> &'a str {
        known(&self.results, family_code(code, "store").unwrap_or(code))
    }
}

/// `timeout` of `ccfs.timeout`, in the family `ccfs`.
fn family_code<'a>(reason: &'a str, family: &str) -> Option<&'a str> {
    reason.strip_prefix(family)?.strip_prefix('.')
}

fn known<'a>(codes: &BTreeSet<String>, code: &'a str) -> &'a str {
    if codes.contains(code) { code } else { OTHER }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> Codes {
        Codes::new(&["0300012".to_owned()].into())
    }

    #[test]
    fn a_code_in_no_table_shares_the_value_of_its_family() {
        let codes = codes();
        assert_eq!(codes.reason(&Reason::ccfs("0300012")), "ccfs.0300012");
        assert_eq!(codes.reason(&Reason::ccfs("0399999")), "ccfs.other");
        assert_eq!(codes.reason(&Reason::ccfs_http(503)), "ccfs.http_503");
        assert_eq!(codes.reason(&Reason::ccfs_http(799)), "ccfs.other");
        assert_eq!(codes.reason(&Reason::store("SlowDown", 503)), "store.SlowDown");
        assert_eq!(codes.reason(&Reason::store("MadeUpByTheStore", 400)), "store.other");
        assert_eq!(codes.reason(&Reason::JOB_PANICKED), "job.panicked");
    }

    #[test]
    fn responses_and_results_take_codes_with_and_without_their_family() {
        let codes = codes();
        assert_eq!(codes.response("ok"), "ok");
        assert_eq!(codes.response("ccfs.timeout"), "timeout");
        assert_eq!(codes.response("unreachable"), "unreachable");
        assert_eq!(codes.response("0300012"), "0300012");
        assert_eq!(codes.response("0399999"), "other");
        assert_eq!(codes.result("store.timeout"), "timeout");
        assert_eq!(codes.result("AccessDenied"), "AccessDenied");
        assert_eq!(codes.result("+79001234567"), "other");
    }
}
