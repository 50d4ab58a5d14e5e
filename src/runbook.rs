//! What each reason code means and what to do about it, for people: the page shows it, and the
//! runbook in docs/OPERATIONS.md has the same words, which a test holds against these. Pure.

use crate::failure::Reason;

/// A row of the runbook.
#[derive(Debug)]
pub struct Row {
    /// The codes that it is for, or a family of them with its parameter: `store.{code}`.
    pub codes: &'static [&'static str],
    pub meaning: &'static str,
    pub advice: &'static str,
}

const fn row(codes: &'static [&'static str], meaning: &'static str, advice: &'static str) -> Row {
    Row { codes, meaning, advice }
}

/// The row of a code: its own, else that of its family.
pub fn of(reason: &Reason) -> &'static Row {
    let code = reason.as_str();
    let at = |code: &str| ROWS.iter().find(|row| row.codes.contains(&code));
    let known = at(code).or_else(|| at(family(reason)));
    known.or_else(|| at("other")).expect("what has no row of its own has this one")
}

/// What stands for the codes that no row names.
fn family(reason: &Reason) -> &'static str {
    let http = |code: &str| code.starts_with("http_");
    match (reason.ccfs_code(), reason.store_code()) {
        (Some(code), _) if http(code) => "ccfs.http_{status}",
        (Some(_), _) => "ccfs.{resultCode}",
        (_, Some(code)) if http(code) => "store.http_{status}",
        (_, Some(code)) if code.starts_with("KMS.") => "store.KMS.NotFoundException",
        (_, Some(_)) => "store.{code}",
        (None, None) => "other",
    }
}

/// The runbook, in its order.
pub const ROWS: &[Row] = &[
    row(
        &["message.invalid"],
        "permanent: no JSON, an unknown type, or fields are missing or wrong; the detail names \
         them all, and AMQP properties that could not be read as they came",
        "mend the sender; a time more than a day ahead of the clock, of which the detail has the \
         time: if the clock is wrong, set it and redrive; the longest callId is 25 characters, the \
         longest fileName 225; short strings of AMQP (type, app_id, names of headers) are UTF-8",
    ),
    row(
        &["message.no_date"],
        "permanent: no field gives the day of the call, so it has no key",
        "have the sender set callEnd, or the AMQP timestamp",
    ),
    row(
        &["message.too_large"],
        "permanent: the body is over 4 MiB",
        "split the dump; 10,000 recordings are the most in any case",
    ),
    row(
        &["tenant.unknown"],
        "permanent: this worker has no such tenant",
        "add it to the configuration of all workers of these queues, or mend the sender",
    ),
    row(
        &[
            "ccfs.0300001",
            "ccfs.0300002",
            "ccfs.0300003",
            "ccfs.0300004",
            "ccfs.0300005",
            "ccfs.0300006",
            "ccfs.0300007",
            "ccfs.0300010",
            "ccfs.0300028",
        ],
        "permanent: CC-FS finds a parameter missing, empty, too long or malformed",
        "look at callId, fileName and ccId in the dead message; an id of another interface, often",
    ),
    row(
        &["ccfs.0300013"],
        "permanent: a begin time after an end time",
        "report it; callvault sends neither",
    ),
    row(
        &["ccfs.0300008", "ccfs.0300009"],
        "throttled: the flow control of CC-FS for downloads, for queries",
        "lower the tenant's max_concurrency, or have the threshold raised",
    ),
    row(
        &["ccfs.0300011", "ccfs.0300012"],
        "not ready: CC-FS has no such file yet",
        "nothing for hours after a call; when most end absent, check the tenant's AK, cc_id, and \
         whether recording is on at all",
    ),
    row(
        &["ccfs.{resultCode}"],
        "failure: a code in no table",
        "ask the vendor, then name it in [ccfs.result_codes]",
    ),
    row(
        &["ccfs.other"],
        "failure: a result code that is none (more than nine characters, or others than digits); \
         it is shown nowhere, since it may be a phone number. In metrics also a code in no table",
        "ask by hand with the same call id, and show the answer to the vendor",
    ),
    row(
        &["ccfs.http_{status}"],
        "unavailable for 5xx, else failure: this status without a result code; 3xx is never \
         followed",
        "404 and 3xx: the endpoint or a proxy is wrong; 421: set ccfs.host; 5xx: ask those who run \
         CC-FS",
    ),
    row(
        &["ccfs.unauthorized"],
        "refused: 401, or the SK's file cannot be read",
        "check the clock as the detail says, then AK and SK, then ccfs.host",
    ),
    row(
        &["ccfs.timeout"],
        "unavailable: no byte of an answer within ccfs.read_timeout; interim answers (1xx) are \
         none, and a flood of them keeps a core busy for so long",
        "ask those who run CC-FS; raise it if their disks are that slow",
    ),
    row(
        &["ccfs.unreachable"],
        "unavailable: DNS, TCP or TLS failed, or the connection broke before an answer",
        "the detail says which; a certificate: ccfs.ca_file with the CA that signed it, or with \
         exactly the server's own",
    ),
    row(
        &["ccfs.firewall"],
        "throttled: an HTML page, or 403, 418, 429 or 502",
        "lower max_concurrency, or have the worker's address exempted",
    ),
    row(
        &["ccfs.empty"],
        "failure: 200 without a body",
        "ask those who run CC-FS; a recording on a full disk, at times",
    ),
    row(
        &["ccfs.truncated"],
        "failure: the body is shorter than its length, its chunks or its own header says; if that \
         is the header, stored as it is when it comes the same three times; unavailable where its \
         connection broke, throttled where it broke while there was no room for it in \
         worker.memory",
        "look at what stands between: proxies, load balancers with time limits",
    ),
    row(&["ccfs.too_large"], "permanent: over ccfs.max_size", "raise it, and ask again"),
    row(
        &["ccfs.protocol"],
        "failure: neither a recording nor a result code, or an encoded body; with zip = \"unpack\" \
         also an archive that contradicts itself or fails its checksums; stored as it is if it \
         comes the same three times",
        "look at what stands between; ask by hand with the same call id",
    ),
    row(
        &["store.AccessDenied"],
        "refused, as any 403 is: the key lacks a permission, or a bucket policy forbids it",
        "compare with the first setup; mind SSE and object-lock permissions",
    ),
    row(
        &[
            "store.InvalidAccessKeyId",
            "store.SignatureDoesNotMatch",
            "store.ExpiredToken",
            "store.InvalidToken",
            "store.TokenRefreshRequired",
        ],
        "refused: the store's keys are wrong, were withdrawn or have expired",
        "replace them, see rotating keys",
    ),
    row(&["store.RequestTimeTooSkewed"], "refused: the clock is off", "NTP"),
    row(
        &["store.NoSuchBucket"],
        "refused: no such bucket in this region",
        "check store.bucket, store.endpoint, store.region and store.path_style",
    ),
    row(
        &[
            "store.PermanentRedirect",
            "store.TemporaryRedirect",
            "store.AuthorizationHeaderMalformed",
            "store.IllegalLocationConstraintException",
        ],
        "refused: the bucket is in another region, or has another address",
        "correct store.region and store.endpoint",
    ),
    row(
        &["store.InvalidBucketName", "store.VirtualHostDomainRequired"],
        "refused: the bucket cannot be named so, or not in the path",
        "correct store.bucket, store.path_style",
    ),
    row(
        &[
            "store.QuotaExceeded",
            "store.InsufficientCapacity",
            "store.InsufficientStorageSpace",
            "store.XMinioStorageFull",
        ],
        "refused, whatever the store calls it: a quota or a disk is full",
        "make room, or have the quota raised; all that waits is archived then",
    ),
    row(
        &["store.InArrearOrInsufficientBalance", "store.AccountProblem", "store.NotSignedUp"],
        "refused: the account is unpaid or closed",
        "pay; all that waits is archived then",
    ),
    row(
        &["store.KMS.NotFoundException", "store.KMS.DisabledException"],
        "refused, as every store.KMS.…: the key that is to encrypt",
        "correct store.sse_kms_key_id, or enable the key and grant its use",
    ),
    row(
        &["store.InvalidStorageClass", "store.InvalidTag", "store.InvalidEncryptionAlgorithmError"],
        "refused: the store does not know what is configured for every object",
        "correct store.storage_class, store.tags, store.sse",
    ),
    row(
        &["store.InvalidRequest", "store.MissingContentMD5"],
        "refused where the bucket wants a checksum, as one with a default retention does, or has \
         no object lock; else failure",
        "the detail says which: set store.checksum, or store.object_lock_days = 0",
    ),
    row(
        &["store.NoCredentials"],
        "refused: no keys are configured, and the machine offers none, or not in time",
        "set them, or give the machine a role or a profile; run its credential_process by hand",
    ),
    row(
        &["store.SlowDown", "store.SlowDownRead", "store.SlowDownWrite"],
        "throttled: the store has too many requests",
        "nothing, unless it stays: lower worker.concurrency",
    ),
    row(
        &["store.IncompleteBody"],
        "the store said yes, and has nothing (failure) or another length (permanent)",
        "look at the object; ask those who run the store",
    ),
    row(
        &[
            "store.KeyTooLongError",
            "store.KeyTooLong",
            "store.EntityTooLarge",
            "store.MetadataTooLarge",
        ],
        "permanent: the store's own limits",
        "shorten store.key; compare store.part_size with the store's limit of one request",
    ),
    row(
        &["store.conflict"],
        "permanent: other content is under the key, or a ZIP that lies frozen in an archive and \
         cannot be compared; nothing was overwritten",
        "compare both (the frozen one is to be restored first, then redrive); store the new one \
         over it, or give tenants, call centres or hours their place in store.key",
    ),
    row(
        &["store.{code}"],
        "by its meaning; failure if unknown: an S3 error code",
        "look it up in the store's manual",
    ),
    row(
        &["store.other"],
        "in metrics alone: a store.{code} in no table",
        "the log, the event and callvault-reason have the full code",
    ),
    row(
        &["store.http_{status}"],
        "an answer without an S3 code: refused for 301, 307, 308, 401, 402, 403 and 507, and for \
         400, 404 and 405 to who creates an object; throttled for 409 and 429, unavailable for \
         other 5xx, else failure",
        "look at what stands between: a proxy, a load balancer, a wrong endpoint",
    ),
    row(
        &["store.http_200"],
        "refused: what answers is no S3, a console or a portal, or tells no size of an object; \
         failure: a listing that does not move on, or an answer that is not what was asked for",
        "correct store.endpoint; a proxy that drops Content-Length: have it kept, or grant \
         s3:ListBucket; callvault check says which",
    ),
    row(
        &["store.unreachable"],
        "unavailable: DNS, TCP or TLS failed, or the connection broke",
        "the log has the cause; check store.endpoint",
    ),
    row(
        &["store.timeout"],
        "unavailable: no answer within store.read_timeout",
        "ask those who run the store; a slow line: a smaller store.part_size",
    ),
    row(
        &["store.RequestNotSent"],
        "refused: the request could not be built, for a setting that goes into all of them",
        "correct what [store] has that no header can say, such as a line end",
    ),
    row(
        &["job.deadline"],
        "unavailable: not done within worker.job_deadline, and laid to whom it waited for most, \
         CC-FS or the store, as the detail says; held where that was room in memory, a place, or \
         the broker",
        "look at callvault_stage_duration_seconds: a slow source, a slow store, or too little \
         worker.memory",
    ),
    row(&["job.panicked"], "failure: a mistake of callvault's", "report it, with the log"),
    row(
        &["job.crashed"],
        "permanent: three workers ended while they had this message alone",
        "keep it and report it; check for kills out of memory first",
    ),
    row(
        &["job.no_place"],
        "held: its tenant had all in flight that it may have, and its messages kept those of \
         others out, or a minute had passed; or it was a dump and others are taken apart before \
         it; or nobody had answered it for 5 s while another tenant wanted its place; or it was a \
         suspect and its worker was told to stop; in the log at level debug alone",
        "if the tenant stalls or is throttled, look there; else add workers, or raise its \
         max_concurrency or worker.tenant_share",
    ),
    row(
        &["job.no_disk"],
        "held: with zip = \"unpack\", no temporary file for an archive longer than \
         store.part_size, or for one that makes way for others; the detail names the folder and \
         why",
        "make room there, or have TMPDIR name a folder with as much room as the largest archives \
         at once",
    ),
    row(
        &["job.no_resources"],
        "held: this machine has no file descriptor, no local port or no memory left for a \
         connection (or a temporary file); the detail says which, and for a minute /readyz has it \
         as warning",
        "descriptors: the worker takes what its hard limit allows, so raise that (LimitNOFILE, \
         ulimit -n), or fs.file-max; ports: widen net.ipv4.ip_local_port_range; or lower \
         worker.concurrency; at start the log warns of a limit below twice that and a hundred",
    ),
    row(
        &["other"],
        "no code of its own: in metrics, a code in no table that is neither of CC-FS nor of the \
         store",
        "the log, the event and callvault-reason have the full code",
    ),
    row(
        &["event.unroutable"],
        "failure: broker.events_mandatory, and no queue takes the event",
        "bind a queue to broker.events_exchange; what is stored stays stored",
    ),
    row(
        &["event.refused"],
        "held: the broker did not confirm the message's event, sent twice at most in a try, or its \
         breaker is open; what is stored stays stored",
        "see CallvaultEventsRefused",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_row_names_has_that_of_its_family() {
        let first = |reason: &Reason| of(reason).codes[0];
        for (reason, row) in [
            (Reason::ccfs("0300012"), "ccfs.0300011"),
            (Reason::ccfs("0399999"), "ccfs.{resultCode}"),
            (Reason::ccfs("not a code"), "ccfs.other"),
            (Reason::ccfs_http(503), "ccfs.http_{status}"),
            (Reason::store("SlowDown", 503), "store.SlowDown"),
            (Reason::store("KMS.AccessDeniedException", 400), "store.KMS.NotFoundException"),
            (Reason::store("MadeUpByTheStore", 400), "store.{code}"),
            (Reason::store_http(200), "store.http_200"),
            (Reason::store_http(503), "store.http_{status}"),
        ] {
            assert_eq!(first(&reason), row, "{reason}");
        }
    }

    #[test]
    fn every_code_without_a_parameter_has_a_row_of_its_own() {
        for reason in Reason::FIXED {
            assert!(of(reason).codes.contains(&reason.as_str()), "{reason}");
        }
    }
}
