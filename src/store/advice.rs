//! What to do about what a store refuses: the setting to change, or whom to ask. Pure.

use super::codes::mend;
use super::error::Refusal;
use crate::config;
use crate::trust;

/// Which key to change.
pub(super) fn advice(refusal: &Refusal, settings: &config::Store) -> String {
    let label = refusal.label();
    let mut advice = match label.as_str() {
        "unreachable" => unreachable(refusal, settings),
        label => to_do(refusal, label).to_owned(),
    };
    if refusal.is_about_the_key() {
        if settings.credentials.is_none() {
            advice += "; none is configured, so it is of the SDK's own chain (environment, \
                       profile, role)";
        }
        if settings.endpoint.is_none() {
            advice += "; no store.endpoint is set, so AWS was asked";
        }
    }
    advice
}

/// There was no connection.
fn unreachable(refusal: &Refusal, settings: &config::Store) -> String {
    let said = refusal.cause().unwrap_or_default();
    if settings.endpoint.is_none() {
        return "set endpoint, unless AWS is meant; check that this machine is let out, and proxy"
            .to_owned();
    }
    if said.contains("CaUsedAsEndEntity") {
        return "give the store a certificate of its own, issued by the CA that ca_file names: one \
                that is a CA's is not taken for a server's"
            .to_owned();
    }
    if trust::is_no_tls(said) {
        return "write http:// in endpoint, or name the port that speaks TLS".to_owned();
    }
    let certificate = trust::advice(said, "store.endpoint", "store.ca_file");
    certificate.unwrap_or_else(|| {
        "check endpoint (scheme, host, port), that the store runs there, and proxy".to_owned()
    })
}

fn to_do(refusal: &Refusal, label: &str) -> &'static str {
    match label {
        "AccessDenied" | "http_403" => {
            "grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on the bucket to the \
             key; with SSE-KMS also the use of the KMS key"
        }
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            mend(label).unwrap_or("correct the keys of [store]")
        }
        "RequestTimeTooSkewed" => "set the clock of this machine (NTP)",
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "renew the session of the credentials: all three of access_key_id, \
             secret_access_key and session_token"
        }
        "NoSuchBucket" | "http_404" => "correct bucket, or create it",
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "http_301"
        | "http_307"
        | "http_308" => "correct region and endpoint: the bucket is elsewhere",
        "NoCredentials" => {
            "set access_key_id and secret_access_key, or give the machine a role or a profile \
             (credential_process, say) that the SDK's chain finds"
        }
        "timeout" => "check endpoint; raise connect_timeout or read_timeout where it is far away",
        "MethodNotAllowed" | "http_405" | "VirtualHostDomainRequired" => "change path_style",
        "InvalidStorageClass" => "correct storage_class",
        "InvalidTag" => "correct tags",
        "http_200" => {
            "correct endpoint: something that is no S3 answers there, a console or a portal; a \
             proxy may also have changed the answer"
        }
        "InvalidRequest" | "MissingContentMD5" => {
            "do as it says; a bucket with a default retention wants checksum = \"md5\" or \
             \"crc64nvme\""
        }
        label if label.starts_with("KMS.") => {
            "correct sse_kms_key_id, or let the key be used: it is missing, disabled or not \
             granted"
        }
        _ if refusal.is_of_the_account() => {
            "have the quota raised or the account paid; what is to be archived waits meanwhile"
        }
        _ => "look up the code in the store's documentation; the keys are those of [store]",
    }
}
