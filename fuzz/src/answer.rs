//! An answer of CC-FS: what is no whole recording never becomes an object, and a failure shows
//! nothing of what the server said.
//!
//! The bytes are those of an answer, as far as it is judged: a line with the status, header lines,
//! a blank line, the body.

use std::collections::BTreeMap;

use callvault::ccfs::Codes;
use callvault::ccfs::answer::{Head, Verdict, judge, judge_json, whole_head};
use callvault::failure::{Class, Failure};
use callvault::recording::{Format, Framing, HEAD_BYTES, Proof, Sniffed, sniff};

use crate::{portions, quotes_nothing};

pub fn check(bytes: &[u8]) {
    let (head, body) = read(bytes);
    let at_once = judged(&head, body, std::iter::once(body));
    let arriving = judged(&head, body, portions(body));
    match (at_once, arriving) {
        (Ok(format), Ok(same)) => {
            assert_eq!(format, same);
            if proven(format, head.framing, body).is_ok() {
                is_a_recording(&head, format, body);
            }
        }
        (Err(failure), Err(same)) => {
            assert_eq!((&failure.reason, failure.class), (&same.reason, same.class));
            says_why(&failure, body);
        }
        (at_once, arriving) => panic!("at once {at_once:?}, as it arrives {arriving:?}"),
    }
}

fn read(bytes: &[u8]) -> (Head, &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &b""[..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.lines().next().and_then(|line| line.trim().parse().ok());
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next()
    };
    let framing = match (header("transfer-encoding"), header("connection")) {
        (Some(_), _) => Framing::Chunked,
        (None, Some(_)) => Framing::Close,
        (None, None) => Framing::Length(body.len() as u64),
    };
    let head = Head {
        // What the HTTP client lets through.
        status: status.filter(|status| (100..=999).contains(status)).unwrap_or(200),
        content_type: header("content-type").map(str::to_owned),
        plain: header("content-encoding").is_none_or(|encoding| encoding == "identity"),
        framing,
    };
    (head, body)
}

/// The answer's end as the client finds it, for a body that arrives in these portions.
fn judged<'a>(
    head: &Head,
    body: &[u8],
    portions: impl Iterator<Item = &'a [u8]>,
) -> Result<Format, Failure> {
    let verdict = judge(head, first_bytes(portions));
    match verdict.unwrap_or_else(|| judge_json(head, body, true)) {
        Verdict::Recording(format) => Ok(format),
        Verdict::Failed(failure) => Err(failure),
        Verdict::Code(code) => Err(Codes::new(&BTreeMap::new()).failure(code.as_deref())),
    }
}

fn first_bytes<'a>(portions: impl Iterator<Item = &'a [u8]>) -> Option<Sniffed> {
    let mut seen = Vec::new();
    for portion in portions {
        seen.extend_from_slice(portion);
        match sniff(&seen) {
            Sniffed::NeedMore => assert!(seen.len() < HEAD_BYTES, "undecided for ever"),
            told => return Some(told),
        }
    }
    whole_head(&seen)
}

fn proven(format: Format, framing: Framing, body: &[u8]) -> Result<(), Failure> {
    let mut proof = Proof::new(format, framing);
    portions(body).for_each(|portion| proof.update(portion));
    proof.finish().map(drop)
}

/// Promise 3, said once more and independently.
fn is_a_recording(head: &Head, format: Format, body: &[u8]) {
    assert!(head.status == 200 && head.plain, "{head:?}");
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    assert!(!text.is_empty(), "blanks are no recording");
    let is_json = serde_json::from_slice::<serde_json::Value>(text).is_ok();
    let start = text[..text.len().min(6)].to_ascii_lowercase();
    let is_html = [b"<html>", b"<html ", b"<head>", b"<body>"].iter().any(|tag| start == *tag);
    assert!(!is_json && !is_html, "an error is no recording");
    match format {
        Format::Wav => assert!(body.starts_with(b"RIFF") && &body[8..12] == b"WAVE"),
        Format::Zip => assert!(body.starts_with(b"PK")),
        Format::Other => {
            assert_ne!(head.framing, Framing::Close, "nothing shows the end");
            let content_type = head.content_type.as_deref().unwrap_or_default();
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            let good = ["", "application/octet-stream", "application/zip"];
            assert!(good.contains(&essence) || essence.starts_with("audio/"), "{content_type}");
        }
    }
}

fn says_why(failure: &Failure, body: &[u8]) {
    quotes_nothing(failure, body);
    assert!(failure.reason.ccfs_code().is_some(), "{failure}");
    // Only these may end as 'there is no recording'.
    if failure.class == Class::NotReady {
        assert!(["ccfs.0300011", "ccfs.0300012"].contains(&failure.reason.as_str()), "{failure}");
    }
}
