//! The error codes of S3 and of the stores that speak it, and what they do to the message. Pure.
//!
//! From the error lists of Amazon S3, Huawei OBS, Alibaba OSS, Tencent COS, MinIO, Ceph and
//! Backblaze. A code that is in none of them is judged by its status.

use crate::failure::{Class, Reason};

/// What the text of an answer is about, where the code alone does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// `If-None-Match`.
    Condition,
    /// The bucket takes no object without a checksum, as those with a default retention do.
    Checksum,
    /// The checksum of this request: it does not fit, or is not known.
    Digest,
    /// Retention in a bucket that has no object lock.
    Lock,
}

impl Topic {
    pub(super) fn of(status: u16, code: Option<&str>, text: &str) -> Option<Self> {
        if status != 400 {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let wants = code == Some("InvalidRequest");
        let checksum = text.contains("content-md5") || text.contains("x-amz-checksum");
        match code {
            _ if text.contains("if-none-match") => Some(Self::Condition),
            Some("MissingContentMD5") => Some(Self::Checksum),
            _ if wants && checksum => Some(Self::Checksum),
            _ if wants && text.contains("object lock") => Some(Self::Lock),
            Some(code) if differs(code) => Some(Self::Digest),
            _ if text.contains("checksum") || text.contains("crc64nvme") => Some(Self::Digest),
            _ => None,
        }
    }
}

/// The table of contract 5.
pub(super) fn class_of(status: u16, code: Option<&str>, about: Option<Topic>) -> Class {
    match code {
        Some(code) if is_throttling(code) => Class::Throttled,
        _ if status == 403 => Class::Refused,
        Some(code) if is_of_everything(code) => Class::Refused,
        Some(code) if is_of_this_object(code) => Class::Permanent,
        _ if matches!(about, Some(Topic::Checksum | Topic::Lock)) => Class::Refused,
        Some("InternalError") => Class::Unavailable,
        _ => by_status(status),
    }
}

fn by_status(status: u16) -> Class {
    match status {
        // Another region or scheme; no login; unpaid; no space. All of it whatever the object.
        301 | 307 | 308 | 401 | 402 | 403 | 507 => Class::Refused,
        409 | 429 => Class::Throttled,
        500.. => Class::Unavailable,
        _ => Class::Failure,
    }
}

fn is_throttling(code: &str) -> bool {
    const CODES: &[&str] = &[
        // Two writers of one key at once.
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestThrottled",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    ];
    // MinIO tells SlowDownRead from SlowDownWrite.
    code.starts_with("SlowDown") || CODES.contains(&code)
}

/// What the store would say of any object: credentials, bucket, region, account, settings.
fn is_of_everything(code: &str) -> bool {
    const CODES: &[&str] = &[
        "AccessDenied",
        "AccessForbidden",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "BadDomainName",
        "CredentialsNotSupported",
        "ExpiredToken",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidEncryptionAlgorithmError",
        "InvalidRegion",
        "InvalidStorageClass",
        "InvalidTag",
        "InvalidToken",
        "NoSuchBucket",
        "NotSignedUp",
        "ObjectLockConfigurationNotFoundError",
        "PermanentRedirect",
        "Redirect",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TemporaryRedirect",
        "TokenRefreshRequired",
        "UserDisable",
        "VirtualHostDomainRequired",
    ];
    code.starts_with("KMS.") || CODES.contains(&code) || is_of_the_account(code)
}

/// What mends the most frequent mistakes of a configuration; for the log, too.
pub(super) fn mend(label: &str) -> Option<&'static str> {
    Some(match label {
        "InvalidAccessKeyId" => "correct store.access_key_id: the store knows no such key",
        "SignatureDoesNotMatch" => {
            "correct store.secret_access_key, and store.region where the store cares"
        }
        "NoSuchBucket" => "correct store.bucket, or create it",
        _ => return None,
    })
}

/// Whether nothing can be stored while a store says so, whatever it is asked for.
pub fn stops_everything(reason: &Reason) -> bool {
    let code = reason.as_str().strip_prefix("store.");
    code.is_some_and(|code| is_of_the_key(code) || matches!(code, "NoSuchBucket" | "NoCredentials"))
}

/// Codes about who signs and how, whatever is asked.
pub(super) fn is_of_the_key(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "RequestTimeTooSkewed"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
    )
}

/// Over its quota or unpaid: every store has names of its own for it, alike in these words.
pub(super) fn is_of_the_account(code: &str) -> bool {
    const WORDS: &[&str] = &[
        "arrear", // InArrearOrInsufficientBalance (OBS), UserArrears
        "capexceeded",
        "insufficientbalance",
        "insufficientcapacity",
        "insufficientstorage", // InsufficientStorageSpace (OBS)
        "quota",               // QuotaExceeded, XMinioAdminBucketQuotaExceeded
        "storagefull",         // XMinioStorageFull
        "unpaid",
    ];
    let code = code.to_ascii_lowercase();
    WORDS.iter().any(|word| code.contains(word))
}

/// What was sent is not what came: another try would bring it whole.
pub(super) fn is_of_the_way(code: &str) -> bool {
    differs(code) || matches!(code, "IncompleteBody" | "RequestTimeout")
}

/// Codes for a body that does not fit its checksum: BadDigest, InvalidDigest (Garage),
/// XAmzContentChecksumMismatch (MinIO).
fn differs(code: &str) -> bool {
    code.contains("Digest") || code.contains("Checksum")
}

/// What no other try would change: the key, the size, the metadata.
fn is_of_this_object(code: &str) -> bool {
    matches!(code, "KeyTooLong" | "KeyTooLongError" | "EntityTooLarge" | "MetadataTooLarge")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_contract() {
        let refused: &[(u16, &[&str])] = &[
            // Any 403, known or not.
            (403, &["AccessDenied", "AllAccessDisabled", "InvalidObjectState", "EntityTooLarge"]),
            (403, &["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]),
            (400, &["ExpiredToken", "InvalidToken", "TokenRefreshRequired"]),
            (404, &["NoSuchBucket"]),
            (400, &["InvalidBucketName", "VirtualHostDomainRequired"]),
            // The wrong region.
            (301, &["PermanentRedirect"]),
            (307, &["TemporaryRedirect", "Redirect"]),
            (400, &["AuthorizationHeaderMalformed", "IllegalLocationConstraintException"]),
            // Quota and payment: Ceph, OBS, MinIO, B2, OSS.
            (403, &["QuotaExceeded", "InArrearOrInsufficientBalance", "InsufficientStorageSpace"]),
            (400, &["XMinioAdminBucketQuotaExceeded", "QuotaTooSmall"]),
            (507, &["XMinioStorageFull"]),
            (503, &["QuotaExceeded", "InsufficientCapacity", "InsufficientCapacityException"]),
            (409, &["AccountProblem", "UserDisable", "StorageCapExceeded", "AccountUnpaid"]),
            // Keys and settings.
            (
                400,
                &["KMS.NotFoundException", "KMS.DisabledException", "KMS.KMSInvalidStateException"],
            ),
            (400, &["InvalidStorageClass", "InvalidEncryptionAlgorithmError", "InvalidTag"]),
        ];
        for (status, codes) in refused {
            for code in *codes {
                assert_eq!(class_of(*status, Some(code), None), Class::Refused, "{status} {code}");
            }
        }
        let table = [
            (503, "SlowDown", Class::Throttled),
            (503, "SlowDownRead", Class::Throttled),
            (503, "SlowDownWrite", Class::Throttled),
            (403, "SlowDown", Class::Throttled),
            (503, "ServiceUnavailable", Class::Unavailable),
            (429, "TooManyRequests", Class::Throttled),
            (409, "OperationAborted", Class::Throttled),
            (200, "OperationAborted", Class::Throttled),
            (409, "MadeUpByTheStore", Class::Throttled),
            (500, "InternalError", Class::Unavailable),
            (200, "InternalError", Class::Unavailable),
            (400, "KeyTooLongError", Class::Permanent),
            (400, "KeyTooLong", Class::Permanent),
            (400, "EntityTooLarge", Class::Permanent),
            (400, "MetadataTooLarge", Class::Permanent),
            (400, "BadDigest", Class::Failure),
            (400, "InvalidRequest", Class::Failure),
            (400, "MadeUpByTheStore", Class::Failure),
        ];
        for (status, code, class) in table {
            assert_eq!(class_of(status, Some(code), None), class, "{status} {code}");
        }
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        let table = [
            (&[301, 307, 308, 401, 402, 403, 507][..], Class::Refused),
            (&[409, 429][..], Class::Throttled),
            (&[500, 502, 503, 504][..], Class::Unavailable),
            (&[200, 302, 400, 404, 418][..], Class::Failure),
        ];
        for (statuses, class) in table {
            for status in statuses {
                assert_eq!(class_of(*status, None, None), class, "{status}");
            }
        }
    }

    #[test]
    fn some_texts_say_what_the_code_does_not() {
        let locked = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object \
                      requests with Object Lock parameters";
        let table = [
            (400, Some("InvalidRequest"), locked, Some(Topic::Checksum)),
            (400, Some("MissingContentMD5"), "", Some(Topic::Checksum)),
            (
                400,
                Some("InvalidRequest"),
                "Bucket is missing Object Lock Configuration",
                Some(Topic::Lock),
            ),
            (400, Some("InvalidArgument"), "if-none-match is unknown", Some(Topic::Condition)),
            // A checksum that does not fit is about this request.
            (
                400,
                Some("BadDigest"),
                "The Content-MD5 you specified did not match",
                Some(Topic::Digest),
            ),
            (400, Some("XAmzContentChecksumMismatch"), "", Some(Topic::Digest)),
            (400, Some("InvalidArgument"), "unknown checksum algorithm", Some(Topic::Digest)),
            (400, Some("XAmzContentSHA256Mismatch"), "x-amz-content-sha256 differs", None),
            (400, Some("InvalidRequest"), "The request is odd", None),
            (412, Some("PreconditionFailed"), "If-None-Match", None),
        ];
        for (status, code, text, about) in table {
            assert_eq!(Topic::of(status, code, text), about, "{text}");
        }
        for about in [Topic::Checksum, Topic::Lock] {
            assert_eq!(class_of(400, Some("InvalidRequest"), Some(about)), Class::Refused);
        }
        for about in [Topic::Condition, Topic::Digest] {
            assert_eq!(class_of(400, Some("X"), Some(about)), Class::Failure);
        }
    }
}
