//! What to do about what a store refuses: the setting to change, or whom to ask. Pure.

use super::error::Refusal;

/// Which key to change.
pub(super) fn advice(refusal: &Refusal) -> &'static str {
    match refusal.label().as_str() {
        "AccessDenied" | "http_403" => {
            "grant s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on the bucket to the \
             key; with SSE-KMS also the use of the KMS key"
        }
        "InvalidAccessKeyId" => "correct access_key_id",
        "SignatureDoesNotMatch" => "correct secret_access_key, and region where the store cares",
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
        "unreachable" if refusal.is_ca_as_server() => {
            "give the store a certificate of its own, issued by the CA that ca_file names: one that \
             is a CA's is not taken for a server's"
        }
        "unreachable" => {
            "check endpoint (scheme, host, port), proxy, and its certificate: ca_file names the \
             CA that issued it"
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
