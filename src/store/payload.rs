//! A body in memory with its sums: those that were made as it came, and those that a request wants
//! all the same. Pure; must not know which request wants which.

use std::sync::OnceLock;

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::Sha256Digest;

type Md5Digest = [u8; 16];

/// Which sums of a body are made as it comes, each byte while it is at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub sha256: bool,
    pub md5: bool,
    pub crc64nvme: bool,
}

/// The sums of a body that comes.
#[derive(Debug)]
pub struct Summing {
    sha256: Option<Sha256>,
    md5: Option<Md5>,
    crc64nvme: Option<crc_fast::Digest>,
}

impl Summing {
    pub fn new(sums: Sums) -> Self {
        Self {
            sha256: sums.sha256.then(Sha256::new),
            md5: sums.md5.then(Md5::new),
            crc64nvme: sums.crc64nvme.then(|| crc_fast::Digest::new(Crc64Nvme)),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(crc64nvme) = &mut self.crc64nvme {
            crc64nvme.update(bytes);
        }
    }

    /// `body` is all that has come.
    pub fn of(self, body: Bytes) -> Payload {
        let Self { sha256, md5, crc64nvme } = self;
        Payload {
            body,
            sha256: known(sha256.map(|sum| sum.finalize().into())),
            md5: known(md5.map(|sum| sum.finalize().into())),
            crc64nvme: known(crc64nvme.map(|sum| sum.finalize())),
        }
    }
}

/// A body with its sums. One that was not made as it came is made when it is asked for.
pub struct Payload {
    body: Bytes,
    sha256: OnceLock<Sha256Digest>,
    md5: OnceLock<Md5Digest>,
    crc64nvme: OnceLock<u64>,
}

impl Payload {
    /// Of which nothing is known.
    pub fn new(body: Bytes) -> Self {
        Summing::new(Sums::default()).of(body)
    }

    /// The same, of which the hash is known.
    #[must_use]
    pub fn hashed(self, sha256: Sha256Digest) -> Self {
        Self { sha256: OnceLock::from(sha256), ..self }
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.body.len() as u64
    }

    pub(super) fn sha256(&self) -> &Sha256Digest {
        self.sha256.get_or_init(|| Sha256::digest(&self.body).into())
    }

    pub(super) fn md5(&self) -> &Md5Digest {
        self.md5.get_or_init(|| Md5::digest(&self.body).into())
    }

    pub(super) fn crc64nvme(&self) -> u64 {
        *self.crc64nvme.get_or_init(|| crc_fast::checksum(Crc64Nvme, &self.body))
    }
}

fn known<T>(sum: Option<T>) -> OnceLock<T> {
    sum.map_or_else(OnceLock::new, OnceLock::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sums = Sums { sha256: true, md5: true, crc64nvme: true };

    #[test]
    fn what_is_summed_as_it_comes_is_what_is_summed_afterwards() {
        let body = Bytes::from((0..100_000_u32).map(|n| (n / 7) as u8).collect::<Vec<_>>());
        let mut summing = Summing::new(ALL);
        let (first, rest) = body.split_at(30_001);
        summing.update(first);
        rest.chunks(999).for_each(|chunk| summing.update(chunk));
        let (as_it_came, afterwards) = (summing.of(body.clone()), Payload::new(body));
        assert!(as_it_came.crc64nvme.get().is_some() && afterwards.crc64nvme.get().is_none());
        assert_eq!(as_it_came.sha256(), afterwards.sha256());
        assert_eq!(as_it_came.md5(), afterwards.md5());
        assert_eq!(as_it_came.crc64nvme(), afterwards.crc64nvme());
    }

    #[test]
    fn only_what_is_wanted_is_summed() {
        let mut summing = Summing::new(Sums { crc64nvme: true, ..Sums::default() });
        summing.update(b"123456789");
        let payload = summing.of(Bytes::from_static(b"123456789"));
        assert!(payload.sha256.get().is_none() && payload.md5.get().is_none());
        // The check value of CRC-64/NVME.
        assert_eq!(payload.crc64nvme.get(), Some(&0xae8b_1486_0a79_9888));
    }
}
