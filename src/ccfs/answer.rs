//! Judging an answer: status, headers and first bytes say whether it is a recording, an error in
//! JSON, or trouble of another kind. Pure.

use crate::failure::{Failure, Reason};
use crate::recording::{Format, Framing, Sniffed, sniff_whole};

use super::json::{self, Object};
use super::status::{by_status, failed, firewall, neither, no_code, opaque};

/// What is judged of an answer's status line and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// As sent.
    pub content_type: Option<String>,
    /// No coding but `identity`, and `chunked` for its framing.
    pub plain: bool,
    pub framing: Framing,
}

/// What an answer is.
#[derive(Debug)]
pub enum Verdict {
    Recording(Format),
    /// The result code decides; `None`: it has one that is none.
    Code(Option<String>),
    Failed(Failure),
}

/// Judges `head` and the first bytes of the body; `None` when it has no bytes at all, or when they
/// could not be had. Of a body that begins as JSON there is no verdict before more of it is known.
pub fn judge(head: &Head, sniffed: Option<Sniffed>) -> Option<Verdict> {
    if head.status == 401 || !head.plain {
        return Some(Verdict::Failed(opaque(head.status)));
    }
    let verdict = match (head.status, sniffed) {
        (_, Some(Sniffed::Json)) => return None,
        (200, None) => {
            Verdict::Failed(failed(Reason::CCFS_EMPTY, "CC-FS answered with an empty body"))
        }
        (200, Some(Sniffed::Wav)) => Verdict::Recording(Format::Wav),
        (200, Some(Sniffed::Zip)) => Verdict::Recording(Format::Zip),
        (200, Some(Sniffed::Html)) => Verdict::Failed(firewall(head.status)),
        (200, Some(Sniffed::Blank)) => Verdict::Failed(neither()),
        (200, Some(Sniffed::Unknown | Sniffed::NeedMore)) => unknown(head),
        (status, _) => Verdict::Failed(by_status(status)),
    };
    Some(verdict)
}

/// Judges a body that begins as JSON, of which `bytes` are known: the `whole` of it, or as many as
/// an answer may have.
pub fn judge_json(head: &Head, bytes: &[u8], whole: bool) -> Verdict {
    match json::read(bytes) {
        Object::Code(code) => Verdict::Code(Some(code)),
        Object::OddCode => Verdict::Code(None),
        Object::Other if head.status == 200 => unknown(head),
        // Nothing else shows where it ends.
        Object::Open if whole && head.framing == Framing::Close && head.status == 200 => {
            Verdict::Failed(failed(Reason::CCFS_TRUNCATED, "the answer ends inside its JSON"))
        }
        Object::NoCode | Object::Open | Object::Other => Verdict::Failed(no_code(head.status)),
    }
}

/// What the first bytes are, once they are all there are; `None` for a body of blanks, which says
/// as little as an empty one.
///
/// A beginning of a known format that is shorter than its mark is a recording: its proof refuses it,
/// and knows whether CC-FS has it so.
pub fn whole_head(bytes: &[u8]) -> Option<Sniffed> {
    // A byte order mark is nothing to hear either.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    (!text.trim_ascii().is_empty()).then(|| sniff_whole(bytes))
}

/// Bytes of no known format: a recording only under a type that says so, or that says nothing.
fn unknown(head: &Head) -> Verdict {
    let content_type = head.content_type.as_deref().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "application/octet-stream" | "application/zip" => Verdict::Recording(Format::Other),
        audio if audio.starts_with("audio/") => Verdict::Recording(Format::Other),
        _ => Verdict::Failed(neither()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recording::sniff;

    fn head(status: u16, content_type: Option<&str>) -> Head {
        Head {
            status,
            content_type: content_type.map(str::to_owned),
            plain: true,
            framing: Framing::Chunked,
        }
    }

    /// The format, the code, or `reason/class`.
    fn said(verdict: Verdict) -> String {
        match verdict {
            Verdict::Recording(format) => format!("{format:?}"),
            Verdict::Code(code) => code.unwrap_or_else(|| "odd code".to_owned()),
            Verdict::Failed(failure) => format!("{}/{:?}", failure.reason, failure.class),
        }
    }

    fn verdict(head: &Head, sniffed: Option<Sniffed>) -> String {
        judge(head, sniffed).map_or_else(|| "more".to_owned(), said)
    }

    #[test]
    fn known_first_bytes_win_over_any_content_type() {
        for content_type in [None, Some("text/html"), Some("application/json")] {
            let head = head(200, content_type);
            assert_eq!(verdict(&head, Some(Sniffed::Wav)), "Wav");
            assert_eq!(verdict(&head, Some(Sniffed::Zip)), "Zip");
            assert_eq!(verdict(&head, Some(Sniffed::Html)), "ccfs.firewall/Throttled");
            assert_eq!(verdict(&head, Some(Sniffed::Json)), "more");
            let open = said(judge_json(&head, b"{\"resultCode\":\"03", true));
            assert_eq!(open, "ccfs.protocol/Failure");
        }
    }

    #[test]
    fn unknown_bytes_need_a_type_that_lets_them_be_a_recording() {
        let sniffed = Some(Sniffed::Unknown);
        for good in ["Application/Octet-stream;charset=UTF-8", "audio/x-v3", "application/zip", ""]
        {
            assert_eq!(verdict(&head(200, Some(good)), sniffed), "Other", "{good}");
        }
        assert_eq!(verdict(&head(200, None), sniffed), "Other");
        for bad in ["text/plain", "application/json", "video/mp4", "audio"] {
            assert_eq!(verdict(&head(200, Some(bad)), sniffed), "ccfs.protocol/Failure", "{bad}");
        }
    }

    #[test]
    fn blanks_are_no_recording_however_many() {
        let octets = head(200, Some("application/octet-stream"));
        assert_eq!(verdict(&octets, Some(sniff(&[b' '; 512]))), "ccfs.protocol/Failure");
    }

    #[test]
    fn without_a_result_code_the_status_decides() {
        let octets = Some("application/octet-stream");
        for (status, expected) in [
            (401, "ccfs.unauthorized/Refused"),
            (403, "ccfs.firewall/Throttled"),
            (418, "ccfs.firewall/Throttled"),
            (429, "ccfs.firewall/Throttled"),
            (502, "ccfs.firewall/Throttled"),
            (500, "ccfs.http_500/Unavailable"),
            (503, "ccfs.http_503/Unavailable"),
            (302, "ccfs.http_302/Failure"),
            (404, "ccfs.http_404/Failure"),
            (206, "ccfs.http_206/Failure"),
        ] {
            for sniffed in [None, Some(Sniffed::Wav), Some(Sniffed::Html), Some(Sniffed::Unknown)] {
                assert_eq!(verdict(&head(status, octets), sniffed), expected);
            }
            let brace = verdict(&head(status, octets), Some(Sniffed::Json));
            assert_eq!(brace, if status == 401 { expected } else { "more" });
            for body in [&b"{}"[..], b"{\x00\x01", b"{\"a\":"] {
                assert_eq!(
                    said(judge_json(&head(status, octets), body, true)),
                    match status {
                        401 => "ccfs.unauthorized/Refused",
                        _ => expected,
                    }
                );
            }
        }
    }

    #[test]
    fn a_beginning_of_json_decides_nothing() {
        let octets = Some("application/octet-stream");
        let judged = |framing, content_type, body: &[u8], whole| {
            said(judge_json(&Head { framing, ..head(200, content_type) }, body, whole))
        };
        for framing in [Framing::Chunked, Framing::Length(9), Framing::Close] {
            assert_eq!(judged(framing, octets, b"{\x00\x01\x02", true), "Other");
            assert_eq!(judged(framing, octets, b"{\x00\x01\x02", false), "Other");
            let bad = judged(framing, Some("application/json"), b"{\x00\x01\x02", true);
            assert_eq!(bad, "ccfs.protocol/Failure");
            assert_eq!(judged(framing, octets, b"{\"resultCode\":7}", true), "0000007");
            assert_eq!(judged(framing, octets, b"{\"resultCode\":\"x\"}", true), "odd code");
        }
        let torn = b"{\"resultCode\":\"0300012\",\"resultDesc\":\"no";
        assert_eq!(judged(Framing::Close, octets, torn, true), "ccfs.truncated/Failure");
        assert_eq!(judged(Framing::Chunked, octets, torn, true), "ccfs.protocol/Failure");
        assert_eq!(judged(Framing::Close, octets, torn, false), "ccfs.protocol/Failure");
    }

    #[test]
    fn an_encoded_body_is_not_looked_into() {
        let encoded = |status| Head { plain: false, ..head(status, None) };
        assert_eq!(verdict(&encoded(200), Some(Sniffed::Wav)), "ccfs.protocol/Failure");
        assert_eq!(verdict(&encoded(403), Some(Sniffed::Unknown)), "ccfs.firewall/Throttled");
        assert_eq!(verdict(&encoded(500), Some(Sniffed::Json)), "ccfs.http_500/Unavailable");
    }

    #[test]
    fn an_empty_body_is_judged_by_its_status() {
        assert_eq!(verdict(&head(200, None), None), "ccfs.empty/Failure");
        assert_eq!(verdict(&head(500, None), None), "ccfs.http_500/Unavailable");
    }

    #[test]
    fn a_body_shorter_than_a_mark_is_what_begins_so_or_unknown_or_blank() {
        for (cut, begun) in [
            ("R", Sniffed::Wav),
            ("RIF", Sniffed::Wav),
            ("RIFF\u{24}\0\0\0WAV", Sniffed::Wav),
            ("P", Sniffed::Zip),
        ] {
            assert_eq!(whole_head(cut.as_bytes()), Some(begun), "{cut}");
        }
        for blank in ["", " ", "\r\n", "\u{feff}", "\u{feff} \r\n"] {
            assert_eq!(whole_head(blank.as_bytes()), None);
        }
        assert_eq!(whole_head(b"\xef\xbb"), Some(Sniffed::Unknown));
        assert_eq!(whole_head(b"{"), Some(Sniffed::Json));
    }

    proptest! {
        #[test]
        fn an_error_is_no_recording_whatever_surrounds_it(
            status in prop_oneof![Just(200_u16), 100..600_u16],
            content_type in "|application/octet-stream|audio/x-v3|text/html|[a-z]{1,5}/[a-z]{1,5}",
            plain in any::<bool>(),
            mark in "(\u{feff})?[ \t\r\n]{0,600}",
            error in "\\{\"resultCode\":\"+4915550123\"\\}|<(html|!DOCTYPE|\\?xml) .{0,9}|\\{\"[a-z]{0,9}",
        ) {
            let head = Head { plain, ..head(status, Some(&content_type)) };
            let body = format!("{mark}{error}");
            let verdict = judge(&head, Some(sniff(body.as_bytes())));
            match verdict.unwrap_or_else(|| judge_json(&head, body.as_bytes(), true)) {
                Verdict::Recording(format) => prop_assert!(false, "{format:?}"),
                Verdict::Code(code) => prop_assert_eq!(code, None),
                Verdict::Failed(failure) => {
                    prop_assert!(!failure.to_string().contains("15550123"));
                }
            }
        }

        #[test]
        fn only_a_plain_200_is_a_recording(
            status in prop_oneof![Just(200_u16), 100..600_u16],
            plain in any::<bool>(),
            body in prop::collection::vec(any::<u8>(), 0..40),
            known in prop::sample::select(vec![&b""[..], b"RIFF\x24\0\0\0WAVE", b"PK\x03\x04"]),
        ) {
            let body = [known, &body].concat();
            let head = Head { plain, ..head(status, None) };
            let sniffed = whole_head(&body);
            let recording = matches!(judge(&head, sniffed), Some(Verdict::Recording(_)));
            prop_assert!(!recording || (status == 200 && plain && !body.trim_ascii().is_empty()));
            // However much of the body was there when it was judged.
            let told = (1..=body.len()).map(|seen| sniff(&body[..seen]));
            let mut told = told.filter(|told| *told != Sniffed::NeedMore);
            prop_assert!(told.all(|told| told == sniff(&body)));
        }
    }
}
