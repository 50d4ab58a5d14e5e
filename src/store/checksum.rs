//! The store's own checksum of a body (`store.checksum`), sent as a header besides the signed hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use md5::{Digest, Md5};

use crate::config::Checksum;

/// What a request carries besides its signed hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    /// `Content-MD5`.
    pub(super) md5: Option<String>,
    /// `x-amz-checksum-crc64nvme`.
    pub(super) crc64nvme: Option<String>,
    crc: u64,
    length: u64,
}

impl Proof {
    pub(super) fn of(body: &Bytes, checksum: Checksum) -> Self {
        let length = body.len() as u64;
        match checksum {
            Checksum::None => Self { length, ..Self::default() },
            Checksum::Md5 => {
                let md5 = STANDARD.encode(Md5::digest(body));
                Self { md5: Some(md5), length, ..Self::default() }
            }
            Checksum::Crc64Nvme => Self::with_crc(crc_fast::checksum(Crc64Nvme, body), length),
        }
    }

    /// The checksum of the whole object, where parts of it can be combined (CRC64NVME's can).
    pub(super) fn whole<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return Self::default() };
        parts.fold(first.clone(), |sum, part| {
            if sum.crc64nvme.is_none() {
                return Self::default();
            }
            let crc = crc_fast::checksum_combine(Crc64Nvme, sum.crc, part.crc, part.length);
            Self::with_crc(crc, sum.length + part.length)
        })
    }

    fn with_crc(crc: u64, length: u64) -> Self {
        let crc64nvme = Some(STANDARD.encode(crc.to_be_bytes()));
        Self { md5: None, crc64nvme, crc, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_s3_wants_them() {
        let body = Bytes::from_static(b"123456789");
        let md5 = Proof::of(&body, Checksum::Md5);
        assert_eq!(md5.md5.as_deref(), Some("JfnnlDI7RTiF9RgfG2JNCw=="));
        assert_eq!(md5.crc64nvme, None);
        // The check value of CRC-64/NVME is ae8b14860a799888.
        let crc = Proof::of(&body, Checksum::Crc64Nvme);
        assert_eq!(crc.crc64nvme, Some(STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())));
        assert_eq!(crc.md5, None);
    }

    #[test]
    fn parts_combine_to_the_checksum_of_the_whole() {
        let whole = Bytes::from((0..100_000_u32).map(|n| n as u8).collect::<Vec<_>>());
        let cuts = [whole.slice(..30_000), whole.slice(30_000..30_001), whole.slice(30_001..)];
        let parts = cuts.map(|cut| Proof::of(&cut, Checksum::Crc64Nvme));
        assert_eq!(Proof::whole(&parts), Proof::of(&whole, Checksum::Crc64Nvme));
    }

    #[test]
    fn md5_of_parts_says_nothing_of_the_whole() {
        let parts = [b"a", b"b"].map(|b| Proof::of(&Bytes::from_static(b), Checksum::Md5));
        assert_eq!(Proof::whole(&parts).md5, None);
    }
}
