//! What proves to the store that a body came as it was sent: the hash that the request signs, a
//! checksum in a header, or both.
//!
//! Which of them a store is given is decided elsewhere (`verified`); how they are written, here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;

use super::payload::{Payload, Sums};
use super::signed_body::SignedBody;

/// What proves a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// The request signs the body's SHA-256; else it says `UNSIGNED-PAYLOAD`.
    signed: bool,
    header: Header,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    None,
    /// `Content-MD5`.
    Md5,
    /// `x-amz-checksum-crc64nvme`.
    Crc64Nvme,
    /// The same of another body, to see whether anybody looks.
    Wrong,
}

impl Proof {
    pub(super) const SIGNED: Self = Self { signed: true, header: Header::None };
    pub(super) const SIGNED_MD5: Self = Self { signed: true, header: Header::Md5 };
    pub(super) const SIGNED_CRC: Self = Self { signed: true, header: Header::Crc64Nvme };
    /// By the checksum alone: over TLS, to a store that verifies it, and nowhere else (contract 3).
    pub(super) const CRC: Self = Self { signed: false, header: Header::Crc64Nvme };
    /// By nothing.
    pub(super) const WRONG: Self = Self { signed: false, header: Header::Wrong };

    /// The sums that it takes.
    pub(super) fn sums(self) -> Sums {
        Sums {
            sha256: self.signed,
            md5: self.header == Header::Md5,
            crc64nvme: matches!(self.header, Header::Crc64Nvme | Header::Wrong),
        }
    }

    /// Whether it is the body's CRC, which may stand for the body alone.
    pub(super) fn is_crc(self) -> bool {
        self.header == Header::Crc64Nvme
    }

    /// `Content-MD5` of `payload`, if that is a part of it.
    pub(super) fn content_md5(self, payload: &Payload) -> Option<String> {
        (self.header == Header::Md5).then(|| STANDARD.encode(payload.md5()))
    }

    /// `x-amz-checksum-crc64nvme` of `payload`, if that is a part of it.
    pub(super) fn crc64nvme(self, payload: &Payload) -> Option<String> {
        match self.header {
            Header::None | Header::Md5 => None,
            Header::Crc64Nvme => Some(crc64nvme(payload.crc64nvme())),
            Header::Wrong => Some(crc64nvme(!payload.crc64nvme())),
        }
    }

    /// What the request signs of `payload`.
    pub(super) fn signature(self, payload: &Payload) -> SignedBody {
        match self.signed {
            true => SignedBody::Hash(*payload.sha256()),
            false => SignedBody::Unsigned,
        }
    }
}

/// The CRC64NVME of a part, and its length, by which those of parts make that of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crc {
    sum: u64,
    /// Bytes.
    length: u64,
}

impl Crc {
    pub(super) fn of(payload: &Payload) -> Self {
        Self { sum: payload.crc64nvme(), length: payload.size() }
    }

    /// Of parts in their order; `None` if that of one is not known.
    pub(super) fn whole(parts: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let first = parts.next()??;
        parts.try_fold(first, |whole, part| {
            let Self { sum, length } = part?;
            let sum = crc_fast::checksum_combine(Crc64Nvme, whole.sum, sum, length);
            Some(Self { sum, length: whole.length + length })
        })
    }

    pub(super) fn header(self) -> String {
        crc64nvme(self.sum)
    }
}

fn crc64nvme(sum: u64) -> String {
    STANDARD.encode(sum.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn headers_as_s3_wants_them() {
        let body = Payload::new(Bytes::from_static(b"123456789"));
        let headers = |proof: Proof| (proof.content_md5(&body), proof.crc64nvme(&body));
        assert_eq!(headers(Proof::SIGNED), (None, None));
        let md5 = "JfnnlDI7RTiF9RgfG2JNCw==".to_owned();
        assert_eq!(headers(Proof::SIGNED_MD5), (Some(md5), None));
        // The check value of CRC-64/NVME is ae8b14860a799888.
        let crc = STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes());
        for proof in [Proof::SIGNED_CRC, Proof::CRC] {
            assert_eq!(headers(proof), (None, Some(crc.clone())));
        }
        let (md5, wrong) = headers(Proof::WRONG);
        assert!(md5.is_none() && wrong.is_some_and(|wrong| wrong != crc));
    }

    #[test]
    fn only_what_a_crc_proves_goes_unsigned() {
        let body = Payload::new(Bytes::from_static(b"123456789"));
        let hash = SignedBody::Hash(*body.sha256());
        for proof in [Proof::SIGNED, Proof::SIGNED_MD5, Proof::SIGNED_CRC] {
            assert_eq!(proof.signature(&body), hash, "{proof:?}");
        }
        assert_eq!(Proof::CRC.signature(&body), SignedBody::Unsigned);
        assert!(!Proof::CRC.sums().sha256 && Proof::CRC.sums().crc64nvme);
    }

    #[test]
    fn parts_combine_to_the_checksum_of_the_whole() {
        let whole = Bytes::from((0..100_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        let cuts = [whole.slice(..30_000), whole.slice(30_000..30_001), whole.slice(30_001..)];
        let of = |body| Some(Crc::of(&Payload::new(body)));
        let parts = cuts.map(of);
        assert_eq!(Crc::whole(parts), of(whole));
        assert_eq!(Crc::whole([parts[0], None, parts[2]]), None);
        assert_eq!(Crc::whole([]), None);
    }
}
