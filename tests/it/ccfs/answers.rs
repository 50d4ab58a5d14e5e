//! Every kind of answer, judged.

use std::time::Duration;

use callvault::ccfs::PATH;
use callvault::failure::Class;
use callvault::recording::{Format, Framing as Marked};

use super::{
    CALL, ask, assert_failure, client, client_with, drain, failure_of, fetch, said, same, settings,
};
use crate::support::ccfs::{Framing, OCTETS, Recording, Reply, Simulator};

#[tokio::test]
async fn a_recording_arrives_whole_in_every_framing() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    for bytes in [58, 60, 4096, 64 << 10, 3_000_000] {
        for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
            ccfs.script(CALL, [Reply::wav(bytes).framing(framing)]);
            let download = ask(&client, Some(CALL), None).await.unwrap();
            let expected = ccfs.expected(CALL);
            let marked = match framing {
                Framing::Length => Marked::Length(expected.length()),
                Framing::Chunked => Marked::Chunked,
                _ => Marked::Close,
            };
            assert_eq!((download.format(), download.framing()), (Format::Wav, marked));
            same(&drain(download).await.unwrap(), &expected);
        }
    }
}

#[tokio::test]
async fn the_first_bytes_decide_the_format() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let one_by_one =
        |reply: Reply| reply.framing(Framing::Chunked).pieces(1, Duration::from_micros(1));
    for (reply, format) in [
        (Reply::wav(200).content_type("text/html"), Format::Wav),
        (Reply::zip([100, 3000]).no_content_type(), Format::Zip),
        (Reply::zip([]), Format::Zip),
        (Reply::recording(Recording::raw(500)), Format::Other),
        (Reply::recording(Recording::raw(500)).no_content_type(), Format::Other),
        (Reply::recording(Recording::raw(5)).content_type("audio/x-v3"), Format::Other),
        (one_by_one(Reply::wav(100)), Format::Wav),
        (one_by_one(Reply::zip([100])), Format::Zip),
    ] {
        ccfs.script(CALL, [reply]);
        let download = ask(&client, Some(CALL), None).await.unwrap();
        assert_eq!(download.format(), format);
        same(&drain(download).await.unwrap(), &ccfs.expected(CALL));
    }
    let unknown = Reply::recording(Recording::raw(500)).content_type("image/png");
    assert_failure(unknown, "ccfs.protocol/Failure").await;
    assert_failure(Reply::text("no such file"), "ccfs.protocol/Failure").await;
}

#[tokio::test]
async fn a_result_code_is_found_however_it_is_wrapped() {
    let code = || Reply::code("0300012");
    for reply in [
        code(),
        Reply::inner_code("0300012"),
        code().content_type(OCTETS),
        code().no_content_type(),
        code().framing(Framing::Close),
        code().framing(Framing::Chunked).pieces(1, Duration::from_micros(1)),
        code().with_status(404),
        code().with_status(500),
        code().with_status(403),
        Reply::json("\u{feff} {\"resultCode\": 300012}"),
    ] {
        assert_failure(reply, "ccfs.0300012/NotReady").await;
    }
    assert_failure(code().with_status(401), "ccfs.unauthorized/Refused").await;
}

/// As they were seen: a description in GBK, and one with a raw newline and tab in it.
#[tokio::test]
async fn what_an_answer_says_in_words_may_be_unclean() {
    let gbk = b"{\"resultCode\":\"0300012\",\"resultDesc\":\"\xce\xde\xca\xfd\xbe\xdd\",\"resultData\":{},\
        \"response\":{\"version\":\"2.0\",\"resultCode\":\"0300012\",\"resultMsg\":\"\xce\xde\"}}";
    let control =
        "{\"resultCode\":\"0300008\",\"resultDesc\":\"flow control\nthreshold\treached\"}";
    for octets in [false, true] {
        let typed = |reply: Reply| if octets { reply.content_type(OCTETS) } else { reply };
        assert_failure(typed(Reply::json(&gbk[..])), "ccfs.0300012/NotReady").await;
        assert_failure(typed(Reply::json(control)), "ccfs.0300008/Throttled").await;
    }
}

/// As some servers of Windows write, under the type of a recording.
#[tokio::test]
async fn text_in_utf_16_is_no_recording() {
    let page = "\r\n<!DOCTYPE html><html><body>拒绝</body></html>";
    let answer = "{\"resultCode\":\"0300012\",\"resultDesc\":\"无\"}";
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let octets = |text: &str| {
            let marked = std::iter::once(0xfeff).chain(text.encode_utf16());
            Reply::octets(marked.flat_map(bytes).collect::<Vec<_>>())
        };
        assert_failure(octets(answer), "ccfs.0300012/NotReady").await;
        assert_failure(octets(page), "ccfs.firewall/Throttled").await;
    }
}

#[tokio::test]
async fn a_first_byte_alone_decides_nothing() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let noise: Vec<u8> = (0..100_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    for start in [&b"{"[..], b"{\"", b"<", b"<a", b"<!", b"\xef\xbb\xbf{", b" {"] {
        let body = [start, &[0x9b, 0], &noise].concat();
        for framing in [Framing::Length, Framing::Chunked] {
            ccfs.script(CALL, [Reply::octets(body.clone()).framing(framing)]);
            let download = ask(&client, Some(CALL), None).await.unwrap();
            assert_eq!(download.format(), Format::Other, "{}", start.escape_ascii());
            assert!(drain(download).await.unwrap() == body, "{}", start.escape_ascii());
        }
        let short = Reply::octets(body[..start.len() + 2].to_vec());
        ccfs.script(CALL, [short]);
        let download = ask(&client, Some(CALL), None).await.unwrap();
        assert_eq!(drain(download).await.unwrap(), &body[..start.len() + 2]);
        let typed = Reply::json(body.clone());
        assert_failure(typed, "ccfs.protocol/Failure").await;
        assert_failure(Reply::octets(body).with_status(500), "ccfs.http_500/Unavailable").await;
    }
    let limit = callvault::config::Ccfs { max_size: 90_000, ..settings(&[&ccfs.url()]) };
    ccfs.script(CALL, [Reply::octets([b"{", &noise[..]].concat()).framing(Framing::Chunked)]);
    let late = ask(&client_with(&limit), Some(CALL), None).await.unwrap();
    assert_eq!(said(drain(late).await).0, "ccfs.too_large/Permanent");
}

#[tokio::test]
async fn the_result_code_says_the_class() {
    for (code, expected) in [
        ("0300004", "ccfs.0300004/Permanent"),
        ("0300008", "ccfs.0300008/Throttled"),
        ("0300011", "ccfs.0300011/NotReady"),
        ("0399999", "ccfs.0399999/Failure"),
        ("123456789", "ccfs.123456789/Failure"),
        ("1234567890", "ccfs.other/Failure"),
        ("E300012", "ccfs.other/Failure"),
        ("0", "ccfs.protocol/Failure"),
        ("0100000", "ccfs.protocol/Failure"),
    ] {
        assert_failure(Reply::code(code), expected).await;
    }
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::code("0399999")]);
    let mut settings = settings(&[&ccfs.url()]);
    settings.result_codes.insert("0399999".to_owned(), Class::NotReady);
    let (reason, _) = said(fetch(&client_with(&settings)).await);
    assert_eq!(reason, "ccfs.0399999/NotReady");
}

#[tokio::test]
async fn json_that_is_no_answer_is_a_protocol_error() {
    for text in ["{", "{}", "[1]", "{\"resultCode\":\"03000"] {
        assert_failure(Reply::json(text), "ccfs.protocol/Failure").await;
    }
    // CC-FS calls all that it sends octets.
    for text in ["[{\"resultCode\":\"0300012\"}]", "null", "\"no such file\"", "[]", "404"] {
        assert_failure(Reply::json(text).content_type(OCTETS), "ccfs.protocol/Failure").await;
    }
    let huge = format!("{{\"resultDesc\":\"{}\",\"resultCode\":\"0300012\"}}", "x".repeat(70_000));
    assert_failure(Reply::json(huge), "ccfs.protocol/Failure").await;
    assert_failure(Reply::json("{}").with_status(503), "ccfs.http_503/Unavailable").await;
}

#[tokio::test]
async fn a_firewall_is_told_from_ccfs() {
    for status in [200, 403, 418, 429, 502] {
        assert_failure(Reply::html(status), "ccfs.firewall/Throttled").await;
    }
    assert_failure(Reply::html(200).content_type(OCTETS), "ccfs.firewall/Throttled").await;
    assert_failure(Reply::status(403), "ccfs.firewall/Throttled").await;
    assert_failure(Reply::text("slow down").with_status(429), "ccfs.firewall/Throttled").await;
    assert_failure(Reply::json("{}").with_status(403), "ccfs.firewall/Throttled").await;
}

#[tokio::test]
async fn any_other_status_is_said_as_it_is() {
    assert_failure(Reply::status(500), "ccfs.http_500/Unavailable").await;
    assert_failure(Reply::html(503), "ccfs.http_503/Unavailable").await;
    assert_failure(Reply::wav(500).with_status(500), "ccfs.http_500/Unavailable").await;
    assert_failure(Reply::status(404), "ccfs.http_404/Failure").await;
    assert_failure(Reply::status(204), "ccfs.http_204/Failure").await;
    assert_failure(Reply::wav(500).with_status(206), "ccfs.http_206/Failure").await;
    assert_failure(Reply::empty(), "ccfs.empty/Failure").await;
    assert_failure(Reply::empty().framing(Framing::Chunked), "ccfs.empty/Failure").await;
    assert_failure(Reply::empty().framing(Framing::Close), "ccfs.empty/Failure").await;
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::redirect(&format!("{}{PATH}", ccfs.url())), Reply::wav(100)]);
    let (reason, _) = said(fetch(&client(&ccfs)).await);
    assert_eq!(reason, "ccfs.http_302/Failure");
    assert_eq!(ccfs.requests().len(), 1);
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    let gzip = Reply::wav(500).header("Content-Encoding", "gzip");
    assert_failure(gzip, "ccfs.protocol/Failure").await;
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::wav(500).header("Content-Encoding", "Identity")]);
    same(&fetch(&client(&ccfs)).await.unwrap(), &ccfs.expected(CALL));
}

/// Only a body whose last coding is chunked shows its end: another one ends with the connection.
#[tokio::test]
async fn a_coding_that_is_not_chunked_proves_nothing() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    for coding in ["identity", "Identity", "identity, identity"] {
        ccfs.script(CALL, [Reply::wav(5000).framing(Framing::Coded(coding))]);
        let download = ask(&client, Some(CALL), None).await.unwrap();
        assert_eq!(download.framing(), Marked::Close, "{coding}");
    }
    // What is packed is no recording, however its end shows.
    for coding in ["gzip", "chunked, gzip", "chunked, identity", "xchunked"] {
        let packed = Reply::wav(5000).framing(Framing::Coded(coding));
        assert_failure(packed, "ccfs.protocol/Failure").await;
    }
    let chunked = |before: &str| {
        Reply::wav(5000).header("Transfer-Encoding", before).framing(Framing::Chunked)
    };
    assert_failure(chunked("gzip"), "ccfs.protocol/Failure").await;
    ccfs.script(CALL, [chunked("identity")]);
    let download = ask(&client, Some(CALL), None).await.unwrap();
    assert_eq!(download.framing(), Marked::Chunked);
    same(&drain(download).await.unwrap(), &ccfs.expected(CALL));
}

#[tokio::test]
async fn nothing_that_a_server_says_of_a_call_gets_into_a_failure() {
    let (_, detail) = failure_of(Reply::code("0300012")).await;
    let (_, odd) = failure_of(Reply::code("no 13800138000 here")).await;
    for text in [detail, odd] {
        assert!(!text.contains("13800138000") && !text.contains("secret"), "{text}");
    }
}
