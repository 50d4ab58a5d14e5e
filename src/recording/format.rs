//! What the first bytes of a body say it is.

/// The most bytes that [`sniff`] ever needs.
pub const HEAD_BYTES: usize = 512;

/// What a body is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    Wav,
    Zip,
    Json,
    Html,
    Unknown,
    /// Too few bytes to tell.
    NeedMore,
}

/// Tells recordings from error answers.
pub fn sniff(head: &[u8]) -> Sniffed {
    for (magic, sniffed) in [(&b"RIFF"[..], Sniffed::Wav), (b"PK", Sniffed::Zip)] {
        if head.starts_with(magic) {
            return sniffed;
        }
        if head.len() < magic.len() && magic.starts_with(head) {
            return Sniffed::NeedMore;
        }
    }
    let bom = b"\xef\xbb\xbf";
    if head.len() < bom.len() && bom.starts_with(head) {
        return Sniffed::NeedMore;
    }
    let text = head.strip_prefix(bom).unwrap_or(head).trim_ascii_start();
    match text.first() {
        None if head.len() < HEAD_BYTES => Sniffed::NeedMore,
        Some(b'{' | b'[') => Sniffed::Json,
        Some(b'<') => Sniffed::Html,
        _ => Sniffed::Unknown,
    }
}
