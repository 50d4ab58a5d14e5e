//! Whether a bucket would take what a worker puts, and which settings of `[store]` follow.
//!
//! Everything is tried on a probe object of its own, which is deleted again. What concerns uploads
//! in parts is in [`parts`].

mod parts;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::advice;
use super::error::Refusal;
use super::payload::Payload;
use super::proof::Proof;
use super::trouble::plainly;
use super::verified::Verifies;
use super::{Guard, Store, attributes};
use crate::config::{Checksum, Conditional, ZipMode, goes_plain, host_and_port};
use crate::dialect;
use crate::finding::{Finding, Verdict};
use crate::metrics::StoreOperation;

const ANSWER: &str = "answer";
const PUT: &str = "put";
const CREATE: &str = "conditional create";
const HEAD: &str = "head";
const HASH: &str = "body hash";
const CHECKSUM: &str = "checksum";
const ASK: &str = "ask before a put";
const MULTIPART: &str = "multipart";
const COMPLETE: &str = "conditional end";
const LIST: &str = "list";
const SWEEP: &str = "sweep";
const DELETE: &str = "delete";

const BODY: &[u8] = b"callvault check";

const TAKES_ANY: &str = "the store takes a body that does not fit it";
const CHOOSE: &str = "choose the other of \"md5\" and \"crc64nvme\", or \"none\"";

/// Whether the answer to a put had an ETag.
type HasEtag = bool;

impl Store {
    /// Puts, looks at, uploads in parts and deletes a probe object under `key`, which nobody uses.
    pub async fn check(&self, key: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let readable = self.try_answer(key).await;
        let answered = !matches!(&readable, Err(refusal) if unusable(refusal));
        findings.push(match &readable {
            Ok(()) => Finding::well(ANSWER, "the store answers, and knows the key"),
            // HEAD of a missing key is 403 without the right to list: putting tells.
            Err(refusal) if answered => Finding::well(ANSWER, refusal.to_string()),
            Err(refusal) => self.no_answer(refusal).await,
        });
        if let Some(endpoint) = self.0.settings.endpoint.as_ref().filter(|it| goes_plain(it)) {
            findings.push(Finding::in_the_clear(
                &host_and_port(endpoint),
                "recordings",
                self.0.settings.allow_plain,
                "write https:// in store.endpoint",
            ));
        }
        if !answered {
            for check in [PUT, CREATE, HEAD, HASH, MULTIPART, DELETE] {
                findings.push(Finding::skipped(check, "without an answer of the store"));
            }
            return findings;
        }
        let put = self.try_put(key, &mut findings, readable.is_ok()).await;
        if put {
            let again = self.put_probe(key, Guard::Condition).await;
            let head = self.try_head(key).await;
            findings.push(self.try_again(&again));
            findings.extend(self.try_asking(key, &again, &readable, &head).await);
            findings.push(head);
            findings.push(self.try_wrong_hash(key).await);
            findings.extend(self.try_checksum(key).await);
        }
        findings.extend(self.try_multipart(&format!("{key}-parts"), key).await);
        if put {
            findings.push(self.try_completing(key).await);
        }
        if put && self.0.settings.zip == ZipMode::Unpack {
            findings.push(self.try_list(key).await);
        }
        if put {
            findings.push(self.try_delete(key).await);
        }
        findings
    }

    /// A HEAD has no body, so of a 403 a listing says whether it is about the key that signs.
    async fn try_answer(&self, key: &str) -> Result<(), Refusal> {
        match self.head(key).await {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.status(), Some(400 | 403)) => {
                let said = self.list_page(key, None).await.err();
                Err(said.filter(Refusal::is_about_the_key).unwrap_or(refusal))
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn no_answer(&self, refusal: &Refusal) -> Finding {
        let settings = &self.0.settings;
        if let (Some(endpoint), None) = (&settings.endpoint, &settings.proxy)
            && endpoint.scheme() == "http"
            && dialect::speaks_tls(endpoint).await
        {
            let seen = format!("what answers at {} speaks TLS", host_and_port(endpoint));
            return Finding::failed(ANSWER, seen, "write https:// in endpoint");
        }
        Finding::failed(ANSWER, refusal.in_full(&self.address()), self.advice(refusal))
    }

    /// What to change.
    fn advice(&self, refusal: &Refusal) -> String {
        advice::advice(refusal, &self.0.settings)
    }

    /// As recordings are put: with what proves them, the class, tags, encryption.
    pub(super) async fn put_probe(&self, key: &str, guard: Guard) -> Result<HasEtag, Refusal> {
        let (puts, signed, payload) = (&self.0.verifying.puts, self.signed_proof(), probe());
        let send = |proof| self.put_claiming(key, guard, &payload, proof);
        self.prove(puts, signed, self.try_wrong(key), send).await
    }

    /// The probe, unsigned, with a wrong checksum.
    pub(super) async fn try_wrong(&self, key: &str) -> Result<(), Refusal> {
        self.put_claiming(key, Guard::None, &probe(), Proof::WRONG).await.map(drop)
    }

    /// Sends the probe with the sums of `claimed`.
    async fn put_claiming(
        &self,
        key: &str,
        guard: Guard,
        claimed: &Payload,
        proof: Proof,
    ) -> Result<HasEtag, Refusal> {
        let request = self
            .0
            .way
            .client
            .put_object()
            .bucket(self.bucket())
            .key(key)
            .content_type("application/octet-stream")
            .set_if_none_match(guard.if_none_match())
            .set_content_md5(proof.content_md5(claimed))
            .set_checksum_crc64_nvme(proof.crc64nvme(claimed))
            .body(ByteStream::from_static(BODY));
        let request = attributes::on_put(request, &self.0.settings)
            .customize()
            .interceptor(proof.signature(claimed));
        let put = self.ask(StoreOperation::Put, request.send()).await?;
        Ok(put.e_tag.is_some_and(|etag| !etag.is_empty()))
    }

    /// Puts the probe; whether it is there.
    async fn try_put(&self, key: &str, findings: &mut Vec<Finding>, readable: bool) -> bool {
        match self.put_probe(key, Guard::None).await {
            Ok(true) => {
                findings.push(Finding::well(PUT, "taken"));
                return true;
            }
            Ok(false) => match self.is_there(key).await {
                true => {
                    findings.push(Finding::well(PUT, "taken without an ETag: each is looked at"));
                    return true;
                }
                false => {
                    let refusal = Refusal::not_s3(StoreOperation::Put);
                    findings.push(Finding::failed(PUT, refusal.to_string(), self.advice(&refusal)));
                }
            },
            Err(refusal) if readable && refusal.status() == Some(403) => {
                let seen = format!("the bucket reads but does not write: {refusal}");
                findings.push(Finding::failed(PUT, seen, self.advice(&refusal)));
            }
            Err(refusal) => {
                findings.push(Finding::failed(PUT, refusal.to_string(), self.advice(&refusal)));
            }
        }
        for check in [CREATE, HEAD, HASH, DELETE] {
            findings.push(Finding::skipped(check, "without a put"));
        }
        false
    }

    async fn is_there(&self, key: &str) -> bool {
        let found = self.head(key).await.ok().flatten();
        found.is_some_and(|head| head.content_length == Some(BODY.len() as i64))
    }

    /// A second put of what is there, on the condition that nothing is.
    fn try_again(&self, again: &Result<HasEtag, Refusal>) -> Finding {
        let configured = self.0.settings.conditional;
        match again {
            Err(refusal) if refusal.exists() => match configured {
                Conditional::Never => Finding::note(
                    CREATE,
                    "the store can do it, and is not asked to",
                    "conditional = \"auto\" saves a HEAD a recording",
                ),
                _ => Finding::well(CREATE, "a second put is refused (412)"),
            },
            Err(refusal) if refusal.refuses_condition() => match configured {
                Conditional::Always => Finding::failed(
                    CREATE,
                    format!("the store cannot do it: {refusal}"),
                    "set conditional = \"auto\" or \"never\"",
                ),
                _ => Finding::well(CREATE, "the store cannot do it and says so: HEAD comes first"),
            },
            Err(refusal) => Finding::failed(CREATE, refusal.to_string(), self.advice(refusal)),
            Ok(_) => match configured {
                Conditional::Never => {
                    Finding::well(CREATE, "the store only pretends; it is not asked to")
                }
                Conditional::Auto => Finding::note(
                    CREATE,
                    "the store only pretends: it took a second put on the condition that \
                     nothing was there; a worker finds that out, and asks before each put",
                    "conditional = \"never\" saves the second put by which it finds out",
                ),
                Conditional::Always => Finding::failed(
                    CREATE,
                    "the store only pretends: it took a second put on the condition that \
                     nothing was there",
                    "set conditional = \"never\": every put then asks first",
                ),
            },
        }
    }

    /// Where every put asks first, whether the answer means something: to who may not list, a HEAD
    /// of what is not there is a 403.
    async fn try_asking(
        &self,
        key: &str,
        again: &Result<HasEtag, Refusal>,
        missing: &Result<(), Refusal>,
        there: &Finding,
    ) -> Option<Finding> {
        let keeps = again.as_ref().is_err_and(Refusal::exists);
        let asks = self.0.settings.conditional == Conditional::Never || !keeps;
        let blind = missing.as_ref().is_err_and(|refusal| refusal.status() == Some(403));
        if !asks || !blind {
            return None;
        }
        let listed = self.list_page(key, None).await;
        Some(match there.verdict {
            Verdict::Failed if listed.is_ok() => Finding::note(
                ASK,
                "HEAD is forbidden, of what is there too: a worker lists before each put, and what \
                 is there already is refused instead of announced",
                "grant s3:GetObject",
            ),
            Verdict::Failed => Finding::failed(
                ASK,
                "neither HEAD nor a listing says what is there: a worker stores nothing",
                "grant s3:GetObject and s3:ListBucket",
            ),
            _ => Finding::note(
                ASK,
                "HEAD of what is not there is forbidden (403), which is taken for 'not there'",
                "grant s3:ListBucket, and it is a plain 404",
            ),
        })
    }

    async fn try_head(&self, key: &str) -> Finding {
        let length = i64::try_from(BODY.len()).ok();
        let between = "look at what stands between this machine and the store";
        match self.head(key).await {
            Ok(Some(head)) if head.content_length == length => Finding::well(HEAD, "says the size"),
            Ok(Some(head)) if head.content_length.is_none() => {
                match self.list_page(key, None).await {
                    Ok((listed, _)) if listed.iter().any(|object| object.key == key) => {
                        Finding::note(
                            HEAD,
                            "says no size; a listing does, one more request",
                            between,
                        )
                    }
                    _ => Finding::failed(
                        HEAD,
                        "says no size, and neither does a listing",
                        "have what stands between keep Content-Length, or grant s3:ListBucket",
                    ),
                }
            }
            Ok(_) => Finding::failed(HEAD, "the size of the probe is not what was put", between),
            Err(refusal) if refusal.status() == Some(403) => Finding::failed(
                HEAD,
                format!("{refusal}: what was uploaded in parts cannot be looked at"),
                "grant s3:GetObject on the bucket",
            ),
            Err(refusal) => Finding::failed(HEAD, refusal.to_string(), self.advice(&refusal)),
        }
    }

    /// A body that is not what was signed: whether the store looks.
    async fn try_wrong_hash(&self, key: &str) -> Finding {
        let claimed = probe().hashed(Sha256::digest(b"another body").into());
        match self.put_claiming(key, Guard::None, &claimed, self.signed_proof()).await {
            Err(refusal) if refusal.status().is_some_and(|status| status < 500) => {
                Finding::well(HASH, "a body that is not what was signed is refused")
            }
            Err(refusal) => Finding::failed(HASH, refusal.to_string(), self.advice(&refusal)),
            Ok(_) if self.proof_of_put() == Proof::SIGNED => Finding::note(
                HASH,
                "the store takes a body that is not what was signed",
                "set store.checksum to \"md5\" or \"crc64nvme\", and check again",
            ),
            Ok(_) => Finding::well(HASH, "the store does not look; `checksum` does"),
        }
    }

    /// What the store does with a checksum: found out by the probe's put, or by one of another body.
    async fn try_checksum(&self, key: &str) -> Option<Finding> {
        if self.may_go_unsigned() {
            return Some(self.what_is_verified());
        }
        let proof = self.signed_proof();
        if proof == Proof::SIGNED {
            return None;
        }
        let claimed = Payload::new(Bytes::from_static(b"another body"));
        let claimed = claimed.hashed(Sha256::digest(BODY).into());
        Some(match self.put_claiming(key, Guard::None, &claimed, proof).await {
            Err(refusal) if refusal.status().is_some_and(|status| status < 500) => {
                Finding::well(CHECKSUM, "a body that does not fit it is refused")
            }
            Err(refusal) => Finding::failed(CHECKSUM, refusal.to_string(), self.advice(&refusal)),
            Ok(_) => Finding::failed(CHECKSUM, TAKES_ANY, CHOOSE),
        })
    }

    /// What the put of the probe has found out of the store.
    fn what_is_verified(&self) -> Finding {
        let asked = self.0.settings.checksum == Checksum::Crc64Nvme;
        match self.0.verifying.puts.verifies() {
            Some(Verifies::Yes) => Finding::well(
                CHECKSUM,
                "verified by the store (crc64nvme): bodies are not signed as well",
            ),
            Some(Verifies::No) if asked => Finding::failed(CHECKSUM, TAKES_ANY, CHOOSE),
            Some(Verifies::No) => Finding::well(
                CHECKSUM,
                "not verified, the store takes a wrong one: bodies are signed",
            ),
            Some(Verifies::Refuses) => {
                Finding::well(CHECKSUM, "the store takes none alone: bodies are signed")
            }
            None => Finding::note(
                CHECKSUM,
                "whether the store verifies one was not found out: bodies are signed",
                "check again; a worker tries again, too",
            ),
        }
    }

    /// The right to find the entries of a ZIP again.
    async fn try_list(&self, key: &str) -> Finding {
        match self.list_page(key, None).await {
            Ok((listed, _)) if listed.iter().any(|object| object.key == key) => {
                Finding::well(LIST, "what is there of a ZIP can be found again")
            }
            Ok(_) => Finding::note(
                LIST,
                "a listing does not show what was put",
                "ask those who run the store; a repeat of a ZIP that was unpacked downloads it \
                 again",
            ),
            Err(refusal) => Finding::note(
                LIST,
                format!("objects cannot be listed: {refusal}"),
                "grant s3:ListBucket, or a repeat of a ZIP that was unpacked downloads it again",
            ),
        }
    }

    /// The worker never deletes; the probe goes where that is allowed.
    async fn try_delete(&self, key: &str) -> Finding {
        let delete = self.0.way.client.delete_object().bucket(self.bucket()).key(key);
        match delete.send().await {
            Ok(_) => Finding::well(DELETE, "the probe is gone"),
            Err(error) => Finding::note(
                DELETE,
                format!("the probe {key} stays: {}", plainly(&error)),
                "delete it by hand; the worker itself deletes nothing and needs no right to",
            ),
        }
    }
}

fn probe() -> Payload {
    Payload::new(Bytes::from_static(BODY))
}

/// Nothing that is asked of it will be answered.
fn unusable(refusal: &Refusal) -> bool {
    let useless = |status| status >= 500 || matches!(status, 301 | 400);
    refusal.is_about_the_key() || refusal.status().is_none_or(useless)
}
