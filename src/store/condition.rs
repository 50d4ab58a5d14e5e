//! How a new object is kept from overwriting another, and what is found out of the store for that.
//!
//! Stores say yes to `If-None-Match` and overwrite all the same: older ones everywhere, some in
//! CompleteMultipartUpload alone. So it is found out, not believed (contract 3): until a put was
//! refused because something was there, every put asks (HEAD) before.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::error::Refusal;
use super::{NewObject, Store};
use crate::config::Conditional;
use crate::failure::Failure;
use crate::recording::ObjectKey;

/// What is put to find out what a store does.
pub(super) const PROBE: &str = ".callvault-probe";

/// How a new object is kept from overwriting another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// `If-None-Match: *`.
    Condition,
    /// A HEAD before.
    Ask,
    /// Both: the store takes the condition, and may not keep it.
    Both,
    /// Not at all: `force`.
    None,
}

impl Guard {
    pub(super) fn if_none_match(self) -> Option<String> {
        self.is_conditional().then(|| "*".to_owned())
    }

    pub(super) fn is_conditional(self) -> bool {
        matches!(self, Self::Condition | Self::Both)
    }

    pub(super) fn asks(self) -> bool {
        matches!(self, Self::Ask | Self::Both)
    }
}

/// What was found out of a store; with a new client it is found out anew.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// Whether PutObject keeps the condition.
    keeps: OnceLock<bool>,
    /// Held by the one put that finds out.
    finding_out: Mutex<()>,
    /// CompleteMultipartUpload does not know the condition.
    completes_without: AtomicBool,
    /// A HEAD has shown an object.
    may_read: AtomicBool,
    /// An object of ours, to find that out by.
    witness: OnceLock<ObjectKey>,
    /// Held by the one put that makes it.
    making_witness: Mutex<()>,
}

impl Store {
    pub(super) fn guard_of_put(&self, new: &NewObject) -> Guard {
        let keeps = self.0.learnt.keeps.get();
        match (self.0.settings.conditional, keeps) {
            _ if new.force => Guard::None,
            (Conditional::Never, _) | (Conditional::Auto, Some(false)) => Guard::Ask,
            (_, Some(true)) => Guard::Condition,
            (Conditional::Auto, None) | (Conditional::Always, None | Some(false)) => Guard::Both,
        }
    }

    /// Right before completion it is always asked: a condition that is kept when an object is put
    /// may be ignored here.
    pub(super) fn guard_of_completion(&self, new: &NewObject) -> Guard {
        let learnt = &self.0.learnt;
        let without = learnt.completes_without.load(Ordering::Relaxed);
        match self.0.settings.conditional {
            _ if new.force => Guard::None,
            Conditional::Never => Guard::Ask,
            Conditional::Auto if without || learnt.keeps.get() == Some(&false) => Guard::Ask,
            Conditional::Auto | Conditional::Always => Guard::Both,
        }
    }

    /// Whether this refusal of a conditional request is to be answered by asking instead.
    pub(super) fn may_ask_instead(&self, guard: Guard, refusal: &Refusal) -> bool {
        let auto = self.0.settings.conditional == Conditional::Auto;
        auto && guard.is_conditional() && refusal.refuses_condition()
    }

    /// Puts what was just created once more with `put_again`, the same bytes under the condition:
    /// only a 412 says that the store keeps it. The answer of the put that was carried out last.
    pub(super) async fn find_out<T>(
        &self,
        created: T,
        put_again: impl Future<Output = Result<T, Refusal>>,
    ) -> T {
        let learnt = &self.0.learnt;
        if learnt.keeps.get().is_some() {
            return created;
        }
        // One is enough; the others ask before they put until it is known.
        let Ok(_alone) = learnt.finding_out.try_lock() else { return created };
        match put_again.await {
            Ok(overwritten) => {
                self.keeps_no_condition("it overwrites");
                overwritten
            }
            Err(refusal) => {
                if refusal.exists() {
                    self.keeps_the_condition();
                } else if refusal.is_final() {
                    self.keeps_no_condition("it refuses it");
                }
                created
            }
        }
    }

    /// A put was refused because something is there.
    pub(super) fn keeps_the_condition(&self) {
        // Already known is as good.
        let _ = self.0.learnt.keeps.set(true);
    }

    pub(super) fn keeps_no_condition(&self, how: &str) {
        if self.0.learnt.keeps.set(false).is_ok() {
            let bucket = self.bucket();
            tracing::warn!(
                bucket,
                "the store does not create conditionally ({how}): asking before each put"
            );
        }
    }

    pub(super) fn completes_without_condition(&self) {
        self.0.learnt.completes_without.store(true, Ordering::Relaxed);
    }

    /// Something under `key` was stored by us.
    pub(super) fn remember(&self, key: &ObjectKey) {
        if self.0.learnt.witness.get().is_none() {
            let _ = self.0.learnt.witness.set(key.clone());
        }
    }

    /// A HEAD has shown an object: this key may read.
    pub(super) fn may_read(&self) {
        self.0.learnt.may_read.store(true, Ordering::Relaxed);
    }

    /// Whether nothing is there under the key of a new object where a HEAD is refused with a 403: to
    /// who may read and not list it means that, to who may not read it means nothing.
    ///
    /// # Errors
    /// Why that cannot be found out.
    pub(super) async fn forbidden_is_absent(&self, new: &NewObject) -> Result<bool, Failure> {
        let learnt = &self.0.learnt;
        if learnt.may_read.load(Ordering::Relaxed) {
            return Ok(true);
        }
        // Who may list, and not read, knows all the same.
        if let Ok(listed) = self.listed_size(&new.key).await {
            return Ok(listed.is_none());
        }
        let witness = match learnt.witness.get() {
            Some(witness) => witness.clone(),
            None => self.make_witness(new).await?,
        };
        Ok(matches!(self.look(&witness).await, Ok(Some(_))))
    }

    /// Puts an object of our own, of a few bytes, which shows what a HEAD of what is there says, and
    /// whether the condition is kept: with no recording at stake.
    async fn make_witness(&self, new: &NewObject) -> Result<ObjectKey, Failure> {
        let _alone = self.0.learnt.making_witness.lock().await;
        if let Some(witness) = self.0.learnt.witness.get() {
            return Ok(witness.clone());
        }
        let key = beside_recordings(new)?;
        let put = async |guard| self.put_probe(key.as_str(), guard).await;
        let never = self.0.settings.conditional == Conditional::Never;
        let made = match put(if never { Guard::None } else { Guard::Condition }).await {
            Ok(put) if never => Ok(put),
            Ok(first) => Ok(self.find_out(first, put(Guard::Condition)).await),
            Err(refusal) if refusal.exists() => {
                self.keeps_the_condition();
                Ok(true)
            }
            Err(refusal) if refusal.refuses_condition() => put(Guard::None).await,
            Err(refusal) => Err(refusal),
        };
        made.map_err(|refusal| self.failure(refusal))?;
        self.remember(&key);
        Ok(key)
    }
}

/// In the folder of the tenant, since a key may be allowed there alone; at the top where it has none.
pub(super) fn beside_recordings(new: &NewObject) -> Result<ObjectKey, Failure> {
    let (key, tenant) = (new.key.as_str(), new.identity.tenant.as_str());
    let mut folders = key.match_indices('/').map(|(at, _)| &key[..at]);
    let own = folders.find(|folder| folder.rsplit('/').next() == Some(tenant));
    ObjectKey::new(own.map_or_else(|| PROBE.to_owned(), |folder| format!("{folder}/{PROBE}")))
}
