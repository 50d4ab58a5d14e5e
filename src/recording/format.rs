//! The format of a recording, told by its first bytes: CC-FS sends everything, errors included, as
//! `Application/Octet-stream` (vendor page), so a header proves nothing.

use crate::request::{FileName, Wanted};

/// What the first bytes say a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RIFF/WAVE.
    Wav,
    /// PKZIP.
    Zip,
    /// Bytes of no known format.
    Other,
}

impl Format {
    /// The extension that the content itself decides.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Wav => Some("wav"),
            Self::Zip => Some("zip"),
            Self::Other => None,
        }
    }

    /// What an object of this Content-Type is.
    pub fn of_content_type(content_type: &str) -> Self {
        let known = [Self::Wav, Self::Zip];
        known.into_iter().find(|own| own.content_type() == content_type).unwrap_or(Self::Other)
    }

    /// The Content-Type of the object (contract 3).
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Zip => "application/zip",
            Self::Other => "application/octet-stream",
        }
    }
}

/// What an answer looks like from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    Wav,
    Zip,
    /// Begins as JSON does, CC-FS's way to say no; what follows shows whether it is any.
    Json,
    /// HTML or XML: somebody in front of CC-FS speaks.
    Html,
    /// Blanks, further than is looked: an error page may follow; no recording begins so.
    Blank,
    Unknown,
    /// Too few bytes to tell.
    NeedMore,
}

/// [`sniff`] looks no further, and with so many bytes never answers [`Sniffed::NeedMore`]. Blank
/// lines at the head of templated error pages make it more than a magic number.
pub const HEAD_BYTES: usize = 512;

/// No tag has a longer name.
const LONGEST_TAG: usize = 32;

const BOM: &[u8] = b"\xef\xbb\xbf";
/// Byte order marks of UTF-16, the little end first, and last.
const WIDE: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Tells what begins with `head`.
///
/// A RIFF of another form than WAVE is [`Sniffed::Unknown`].
pub fn sniff(head: &[u8]) -> Sniffed {
    // Whatever else has arrived by chance must not matter.
    let head = &head[..head.len().min(HEAD_BYTES)];
    if head.starts_with(b"PK") {
        return Sniffed::Zip;
    }
    if head.starts_with(b"RIFF") && head.len() >= 12 {
        return if &head[8..12] == b"WAVE" { Sniffed::Wav } else { Sniffed::Unknown };
    }
    if head.starts_with(b"RIFF") || b"RIFF".starts_with(head) || b"PK".starts_with(head) {
        return Sniffed::NeedMore;
    }
    if BOM.starts_with(head) || WIDE.iter().any(|mark| mark.starts_with(head)) {
        return Sniffed::NeedMore;
    }
    let narrow = narrowed(head);
    let text = narrow.as_deref().unwrap_or_else(|| head.strip_prefix(BOM).unwrap_or(head));
    let text = text.trim_ascii_start();
    match (text, is_markup(text)) {
        ([], _) | (_, None) if head.len() < HEAD_BYTES => Sniffed::NeedMore,
        ([], _) | (_, None) if text.len() < head.len() => Sniffed::Blank,
        ([b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', ..], _) => Sniffed::Json,
        (_, Some(true)) => Sniffed::Html,
        _ => Sniffed::Unknown,
    }
}

/// Text in UTF-16, as its byte order mark says, with a byte a character. What is not ASCII becomes
/// something that is not, either: no mark of ours has any.
fn narrowed(head: &[u8]) -> Option<Vec<u8>> {
    let place = WIDE.iter().position(|mark| head.starts_with(mark))?;
    let unit = if place == 0 { u16::from_le_bytes } else { u16::from_be_bytes };
    let pairs = head.as_chunks().0.iter().skip(1);
    Some(pairs.map(|pair| u8::try_from(unit(*pair)).unwrap_or(u8::MAX)).collect())
}

/// Whether `text` begins with a tag, a comment or a declaration; `None` where it ends too early to
/// tell. A first byte alone says nothing: bytes of any format may begin with `<`.
fn is_markup(text: &[u8]) -> Option<bool> {
    let Some(rest) = text.strip_prefix(b"<") else { return Some(false) };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-:._".contains(byte);
    let name = match rest {
        [b'!', b'-', rest @ ..] => return rest.first().map(|next| *next == b'-'),
        [b'!' | b'?', name @ ..] | name => name,
    };
    let first = name.first()?;
    let end = name[..name.len().min(LONGEST_TAG)].iter().position(|byte| !is_name(byte));
    match end {
        _ if !first.is_ascii_alphabetic() => Some(false),
        Some(end) => Some(matches!(name[end], b'>' | b'/' | b'?' | b' ' | b'\t' | b'\r' | b'\n')),
        None if name.len() < LONGEST_TAG => None,
        None => Some(false),
    }
}

/// Tells what a body is that ended within its first [`HEAD_BYTES`]; never
/// [`Sniffed::NeedMore`]. The stump of a WAV or ZIP counts as one, so that [`super::Proof`] refuses
/// it rather than that it passes as unknown bytes.
pub fn sniff_whole(body: &[u8]) -> Sniffed {
    match sniff(body) {
        Sniffed::NeedMore if body.is_empty() => Sniffed::Unknown,
        Sniffed::NeedMore if body.starts_with(b"R") => Sniffed::Wav,
        Sniffed::NeedMore if body.starts_with(b"P") => Sniffed::Zip,
        Sniffed::NeedMore => Sniffed::Unknown,
        told => told,
    }
}

/// The extension of a recording's key (contract 3), not yet percent-encoded.
pub fn extension(format: Format, wanted: &Wanted) -> String {
    format.extension().map_or_else(|| own_extension(wanted), str::to_owned)
}

/// The extensions a recording may turn out to have, the likeliest first, for asking the store
/// before a download.
pub fn likely_extensions(wanted: &Wanted) -> Vec<String> {
    let mut likely = vec!["wav".to_owned(), "zip".to_owned()];
    let own = own_extension(wanted);
    if !likely.contains(&own) {
        likely.push(own);
    }
    likely
}

fn own_extension(wanted: &Wanted) -> String {
    let last = wanted.file_name.as_ref().and_then(|name| FileName::parts(name).last());
    let own = last.and_then(|part| split_extension(part).1);
    own.map_or_else(|| "bin".to_owned(), str::to_lowercase)
}

/// Stem and extension of a path's last part. A part like `.V3` is a name, not an extension.
pub fn split_extension(part: &str) -> (&str, Option<&str>) {
    match part.rsplit_once('.') {
        None | Some(("", _)) => (part, None),
        Some((stem, "")) => (stem, None),
        Some((stem, extension)) => (stem, Some(extension)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file_name: &str) -> Wanted {
        Wanted { file_name: Some(FileName::new(file_name).unwrap()), ..Wanted::default() }
    }

    #[test]
    fn tells_formats_by_first_bytes() {
        let cases: [(&[u8], Sniffed); 47] = [
            (b"", Sniffed::NeedMore),
            (b"R", Sniffed::NeedMore),
            (b"RIFF\x24\0\0\0WAV", Sniffed::NeedMore),
            (b"RIFF\x24\0\0\0WAVE", Sniffed::Wav),
            (b"RIFF\x24\0\0\0AVI ", Sniffed::Unknown),
            (b"RIFX\x24\0\0\0WAVE", Sniffed::Unknown),
            (b"P", Sniffed::NeedMore),
            (b"PK", Sniffed::Zip),
            (b"PK\x05\x06", Sniffed::Zip),
            (b"{", Sniffed::Json),
            (b"\xef\xbb\xbf \r\n{\"resultCode\"", Sniffed::Json),
            (b"\xef\xbb", Sniffed::NeedMore),
            (b"\xef\xbb\xbf", Sniffed::NeedMore),
            (b" \n ", Sniffed::NeedMore),
            (b"<", Sniffed::NeedMore),
            (b"<html", Sniffed::NeedMore),
            (b"<html>", Sniffed::Html),
            (b"<HTML lang=\"zh\"", Sniffed::Html),
            (b"<p/>", Sniffed::Html),
            (b"<soap:Envelope\r\n", Sniffed::Html),
            (b"<!-- blocked", Sniffed::Html),
            (b"<!-", Sniffed::NeedMore),
            (b"<!\x9b", Sniffed::Unknown),
            (b"<a\x93\x00", Sniffed::Unknown),
            (b"<1>", Sniffed::Unknown),
            (b"< html>", Sniffed::Unknown),
            (b"<aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb>", Sniffed::Unknown),
            (b"<a\xd5>", Sniffed::Unknown),
            (b"\n\n<!DOCTYPE html>", Sniffed::Html),
            (b"<?xml version", Sniffed::Html),
            (b"<\x00", Sniffed::Unknown),
            (b"\xff", Sniffed::NeedMore),
            (b"\xff\xfe", Sniffed::NeedMore),
            (b"\xff\xfe{\0", Sniffed::Json),
            (b"\xff\xfe\r\0\n\0{\0\"\0", Sniffed::Json),
            (b"\xfe\xff\0{\0\"", Sniffed::Json),
            (b"\xff\xfe<\0h\0t\0m\0l\0>\0", Sniffed::Html),
            (b"\xfe\xff\0<\0?\0x\0m\0l\0 ", Sniffed::Html),
            (b"\xff\xfe<\0h\0", Sniffed::NeedMore),
            // A frame of MPEG audio.
            (b"\xff\xfe\x90\x64\0\0\0\0", Sniffed::Unknown),
            (b"\xff\xfe{\x01", Sniffed::Unknown),
            (b"OggS", Sniffed::Unknown),
            (b"[", Sniffed::Json),
            (b" \"no such file\"", Sniffed::Json),
            (b"nu", Sniffed::Json),
            (b"7", Sniffed::Json),
            (b"\0\0\0\x18ftyp", Sniffed::Unknown),
        ];
        for (head, wanted) in cases {
            assert_eq!(sniff(head), wanted, "{:?}", String::from_utf8_lossy(head));
        }
        let mut blanks = [b' '; HEAD_BYTES];
        assert_eq!(sniff(&blanks), Sniffed::Blank);
        blanks[HEAD_BYTES - 1] = b'<';
        assert_eq!(sniff(&blanks), Sniffed::Blank);
        assert_eq!(sniff(&[&blanks[..], b"html>"].concat()), Sniffed::Blank);
    }

    #[test]
    fn stumps_of_recordings_are_no_unknown_bytes() {
        assert_eq!(sniff_whole(b"RI"), Sniffed::Wav);
        assert_eq!(sniff_whole(b"RIFF\x24\0\0\0WA"), Sniffed::Wav);
        assert_eq!(sniff_whole(b"P"), Sniffed::Zip);
        assert_eq!(sniff_whole(b""), Sniffed::Unknown);
        assert_eq!(sniff_whole(b"  "), Sniffed::Unknown);
        assert_eq!(sniff_whole(b"{}"), Sniffed::Json);
    }

    #[test]
    fn extensions_come_from_the_content_then_from_the_name() {
        let v3 = named("X:/4/0/20260425/512/1629533.V3");
        assert_eq!(extension(Format::Wav, &v3), "wav");
        assert_eq!(extension(Format::Zip, &v3), "zip");
        let cases = [
            ("X:/4/0/20260425/512/1629533.V3", "v3"),
            ("a\\b.tar.GZ", "gz"),
            ("a.d/plain", "bin"),
            ("dir.ext/", "ext"),
            (".V3", "bin"),
            ("ends.", "bin"),
        ];
        for (file_name, wanted) in cases {
            assert_eq!(extension(Format::Other, &named(file_name)), wanted, "{file_name}");
        }
        assert_eq!(extension(Format::Other, &Wanted::default()), "bin");
    }

    #[test]
    fn likely_extensions_do_not_repeat() {
        assert_eq!(likely_extensions(&named("a.V3")), ["wav", "zip", "v3"]);
        assert_eq!(likely_extensions(&named("a.WAV")), ["wav", "zip"]);
        assert_eq!(likely_extensions(&Wanted::default()), ["wav", "zip", "bin"]);
    }
}
