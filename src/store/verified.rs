//! Whether a store verifies the checksum of a body, and so what proves bodies to it.
//!
//! A body is proven by the hash that its request signs. Over TLS a CRC64NVME proves it as well, and
//! costs a tenth: then the payload goes unsigned (contract 3). But stores say yes to a checksum and
//! never look at it, so it is found out, not believed: before the first recording goes unsigned, a wrong
//! one is tried in the same way, on what is no recording. A store that takes it may keep it and hand it
//! out, and whoever then reads the object and compares would find it damaged: no recording is tried
//! with. Until it is known, and wherever it is not so, bodies are signed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Store;
use super::error::Refusal;
use super::payload::Sums;
use super::proof::Proof;
use crate::config::Checksum;

/// What is tried and brings no answer that says anything is tried so often.
const DOUBTS: u32 = 3;

/// What a store does with a wrong checksum of a body that is sent to it in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verifies {
    /// It refuses the wrong one, and takes the right one.
    Yes,
    /// It takes both.
    No,
    /// It takes neither, or none without the signature.
    Refuses,
}

/// What was found out of one way to send a body; with a new client it is found out anew.
#[derive(Debug)]
pub(super) struct Found {
    /// What is sent, for people.
    bodies: &'static str,
    verifies: Mutex<Option<Verifies>>,
    /// Held by the one body that finds out.
    finding_out: tokio::sync::Mutex<()>,
    /// How often that brought nothing.
    doubts: AtomicU32,
}

impl Found {
    fn of(bodies: &'static str) -> Self {
        let (verifies, finding_out, doubts) = Default::default();
        Self { bodies, verifies, finding_out, doubts }
    }

    pub(super) fn verifies(&self) -> Option<Verifies> {
        *self.verifies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was known before.
    fn set(&self, verifies: Verifies) -> Option<Verifies> {
        self.verifies.lock().unwrap_or_else(PoisonError::into_inner).replace(verifies)
    }
}

/// PutObject and UploadPart are two ways: a store may look in one of them alone.
#[derive(Debug)]
pub(super) struct Verifying {
    pub(super) puts: Found,
    pub(super) parts: Found,
}

impl Default for Verifying {
    fn default() -> Self {
        Self { puts: Found::of("objects"), parts: Found::of("parts") }
    }
}

impl Store {
    /// The sums that a body takes which may be put in one request.
    pub fn sums(&self) -> Sums {
        let of_put = self.proof_of_put().sums();
        let of_part = self.0.verifying.parts.verifies() == Some(Verifies::Yes);
        Sums { crc64nvme: of_put.crc64nvme || of_part, ..of_put }
    }

    pub(super) fn proof_of_put(&self) -> Proof {
        self.proof(&self.0.verifying.puts, self.signed_proof())
    }

    /// What proves a body that goes this way, `unsure` being what does until that is known.
    pub(super) fn proof(&self, found: &Found, unsure: Proof) -> Proof {
        match found.verifies() {
            Some(Verifies::Yes) => Proof::CRC,
            Some(Verifies::Refuses) => self.signed_proof(),
            Some(Verifies::No) | None => unsure,
        }
    }

    /// What proves a body wherever it goes.
    pub(super) fn signed_proof(&self) -> Proof {
        let settings = &self.0.settings;
        match settings.checksum {
            Checksum::Md5 => Proof::SIGNED_MD5,
            Checksum::Crc64Nvme => Proof::SIGNED_CRC,
            // S3 demands a checksum of what is locked. This one every store knows that has locks.
            Checksum::Auto if settings.object_lock.is_some() => Proof::SIGNED_MD5,
            Checksum::Auto | Checksum::None => Proof::SIGNED,
        }
    }

    /// Whether parts of a new upload carry their CRC64NVME, which it has to say when it is opened.
    pub(super) fn parts_carry_crc(&self) -> bool {
        let verifies = self.0.verifying.parts.verifies();
        let may = self.may_go_unsigned() && matches!(verifies, None | Some(Verifies::Yes));
        may || self.signed_proof() == Proof::SIGNED_CRC
    }

    /// Only over TLS, and to the store itself: a proxy that is reached by TLS is not the store.
    pub(super) fn may_go_unsigned(&self) -> bool {
        let settings = &self.0.settings;
        let tls = settings.endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
        tls && matches!(settings.checksum, Checksum::Auto | Checksum::Crc64Nvme)
    }

    /// Sends a body by `send` with what proves it, and finds out what that may be.
    ///
    /// `unsure` proves it until that is known; `wrong` sends something unsigned with a wrong checksum
    /// that does no harm where it is taken.
    pub(super) async fn prove<T, F>(
        &self,
        found: &Found,
        unsure: Proof,
        wrong: impl Future<Output = Result<(), Refusal>>,
        send: impl Fn(Proof) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let signed = self.signed_proof();
        let unknown = self.may_go_unsigned() && found.verifies().is_none();
        // One is enough; the others sign until it is known.
        let alone = if unknown { found.finding_out.try_lock().ok() } else { None };
        let (refusal, sure) = match found.verifies() {
            None if alone.is_some() => match find_out(unsure, wrong, &send).await {
                Ok((verifies, sent)) => {
                    self.learn(found, verifies);
                    return Ok(sent);
                }
                Err(refusal) => (refusal, false),
            },
            _ => {
                let proof = self.proof(found, unsure);
                match send(proof).await {
                    Err(refusal) if proof != signed => (refusal, true),
                    answer => return answer,
                }
            }
        };
        let ours = refusal.may_be_about_the_proof();
        if !ours && (sure || !refusal.may_be_chance()) {
            return Err(refusal);
        }
        // As it always goes: whether it was for the proof shows then.
        let sent = send(signed).await?;
        if ours || found.doubts.fetch_add(1, Ordering::Relaxed) + 1 >= DOUBTS {
            self.learn(found, Verifies::Refuses);
        }
        Ok(sent)
    }

    /// Whether this refusal of an upload whose parts were to carry checksums is to be answered by
    /// one of which they carry none.
    pub(super) fn may_open_without_crc(&self, crc: bool, refusal: &Refusal) -> bool {
        crc && self.signed_proof() != Proof::SIGNED_CRC && refusal.may_be_about_the_proof()
    }

    /// An upload that was to carry checksums was refused, and one that does not was opened.
    pub(super) fn parts_carry_no_crc(&self) {
        self.learn(&self.0.verifying.parts, Verifies::Refuses);
    }

    fn learn(&self, found: &Found, verifies: Verifies) {
        let before = found.set(verifies);
        if before == Some(verifies) {
            return;
        }
        let (bucket, bodies) = (self.bucket(), found.bodies);
        match verifies {
            Verifies::Yes => tracing::info!(
                bucket,
                bodies,
                "the store verifies crc64nvme: it proves them, and they are not signed as well"
            ),
            _ if before == Some(Verifies::Yes) => tracing::warn!(
                bucket,
                bodies,
                "the store has verified crc64nvme and refuses it now: they are signed again"
            ),
            Verifies::No => tracing::info!(
                bucket,
                bodies,
                "the store does not verify crc64nvme, it takes a wrong one: they are signed"
            ),
            Verifies::Refuses => {
                tracing::info!(bucket, bodies, "the store takes no crc64nvme: they are signed");
            }
        }
    }
}

/// Sends a body once it is known what becomes of a wrong checksum.
async fn find_out<T, F>(
    unsure: Proof,
    wrong: impl Future<Output = Result<(), Refusal>>,
    send: impl Fn(Proof) -> F,
) -> Result<(Verifies, T), Refusal>
where
    F: Future<Output = Result<T, Refusal>>,
{
    match wrong.await {
        Ok(()) => Ok((Verifies::No, send(unsure).await?)),
        Err(refusal) if refusal.is_about_a_checksum() => {
            Ok((Verifies::Yes, send(Proof::CRC).await?))
        }
        Err(refusal) => Err(refusal),
    }
}
