//! Every answer of CC-FS, of what stands before it, and of the network between.

use std::time::Duration;

use serde_json::json;

use super::{Case, End, LOOK, assert_counted, case, play, same_labels};
use crate::support::ccfs::{Framing, OCTETS, Recording, Reply, ZipFault};
use crate::support::world::World;

/// A code that is none: somebody's number.
const PHONE: &str = "491711234567";

/// The vendor's table, in the words of contract 5.
fn codes() -> Vec<Case> {
    let of = |end, codes: &[&str]| -> Vec<Case> {
        let case = |code: &&str| {
            let reply = Reply::code(code);
            case(&format!("code {code}"), reply, end, &format!("ccfs.{code}"))
        };
        codes.iter().map(case).collect()
    };
    let permanent = [
        "0300001", "0300002", "0300003", "0300004", "0300005", "0300006", "0300007", "0300010",
        "0300013", "0300028",
    ];
    let mut all = of(End::Dead, &permanent);
    all.extend(of(End::Parked, &["0300008", "0300009"]));
    all.extend(of(End::Waiting, &["0300011", "0300012"]));
    all.extend(of(End::Failed, &["0300099", "0999999", "1"]));
    all.extend(["ERR_7-x", PHONE].map(|odd| {
        case(&format!("odd {}", odd.len()), Reply::code(odd), End::Failed, "ccfs.other")
    }));
    all.extend(["0", "0100000"].map(|code| {
        let reply = Reply::code(code);
        let case = case(&format!("success {code}"), reply, End::Failed, "ccfs.protocol");
        case.says("success without a file")
    }));
    all
}

#[tokio::test]
async fn every_result_code_has_its_class() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    let cases = codes();

    let ended = play(&world, &worker, &cases).await;

    // What CC-FS says in words quotes a caller here; the code alone is told.
    for seen in ended.values() {
        let headers = crate::ends::headers(seen);
        assert!(!headers.contains("13800138000") && !headers.contains("secret"), "{headers}");
        assert!(!headers.contains(PHONE), "{headers}");
    }
    assert_counted(&worker, &cases, |reason| match reason {
        "ccfs.0300099" | "ccfs.0999999" | "ccfs.1" => ("ccfs.other".to_owned(), "other".to_owned()),
        known => same_labels(known),
    })
    .await;
    let log = worker.stop().await;
    assert!(!log.contains("13800138000") && !log.contains(PHONE), "{log}");
    assert!(log.contains("ccfs.0999999"), "the full code is in the log: {log}");
}

#[tokio::test]
async fn the_configuration_extends_the_table() {
    let rows = "[ccfs.result_codes]\n\"0300099\" = \"not_ready\"\n\"0300098\" = \"permanent\"\n\
                \"0300097\" = \"throttled\"\n\"0300096\" = \"refused\"\n\"0300012\" = \"failure\"";
    let world = World::new().await;
    let worker = world.worker(&[LOOK, ("ccfs", rows)]).await;
    let cases = [
        case("added 1", Reply::code("0300099"), End::Waiting, "ccfs.0300099"),
        case("added 2", Reply::code("0300098"), End::Dead, "ccfs.0300098"),
        case("added 3", Reply::code("0300097"), End::Parked, "ccfs.0300097"),
        case("added 4", Reply::code("0300096"), End::Waiting, "ccfs.0300096"),
        case("changed", Reply::code("0300012"), End::Failed, "ccfs.0300012"),
        case("as it was", Reply::code("0300011"), End::Waiting, "ccfs.0300011"),
    ]
    .map(|case| case.says("CC-FS answered"));

    play(&world, &worker, &cases).await;

    assert_counted(&worker, &cases, same_labels).await;
    worker.stop().await;
}

/// A result code, however it is wrapped.
fn wrapped() -> Vec<Case> {
    let code = || Reply::code("0300012");
    let bytewise = code().framing(Framing::Chunked).pieces(1, Duration::from_micros(1));
    let forms = [
        ("as octets", code().content_type(OCTETS)),
        ("without type", code().no_content_type()),
        ("as text", code().content_type("text/plain")),
        ("byte by byte", bytewise),
        ("closing", code().framing(Framing::Close)),
        ("inner alone", Reply::inner_code("0300012")),
        ("a number", Reply::json(r#"{"resultCode":300012}"#)),
        ("with a BOM", Reply::json("\u{feff}\r\n {\"resultCode\":\"0300012\"}")),
        (
            "in GBK",
            Reply::json(&b"{\"resultDesc\":\"\xce\xde\x81\\\",\"resultCode\":\"0300012\"}"[..]),
        ),
        ("a raw newline", Reply::json("{\"resultDesc\":\"no\ndata\",\"resultCode\":\"0300012\"}")),
        ("half a pair", Reply::json(r#"{"resultDesc":"\ud83d","resultCode":"0300012"}"#)),
        ("status 404", code().with_status(404)),
        ("status 500", code().with_status(500)),
    ];
    let case = |(name, reply)| case(name, reply, End::Waiting, "ccfs.0300012");
    forms.map(case).into_iter().collect()
}

/// Answers that are neither a recording nor a result code.
fn neither() -> Vec<Case> {
    use End::{Dead, Failed, Parked};
    let wav = || Reply::wav(8 << 10);
    let mut all: Vec<_> = [200, 403, 418, 429, 502]
        .map(|status| case(&format!("html {status}"), Reply::html(status), Parked, FIREWALL))
        .into_iter()
        .collect();
    all.extend([
        case("html as octets", Reply::html(200).content_type(OCTETS), Parked, FIREWALL),
        case("bare 429", Reply::status(429), Parked, FIREWALL),
        case("text 403", Reply::text("no").with_status(403), Parked, FIREWALL),
        case("http 500", Reply::status(500), Failed, "ccfs.http_500"),
        case("http 503", Reply::html(503), Failed, "ccfs.http_503"),
        case("http 404", Reply::status(404), Failed, "ccfs.http_404"),
        case("wav 404", wav().with_status(404), Failed, "ccfs.http_404"),
        case("http 302", Reply::redirect("/elsewhere"), Failed, "ccfs.http_302"),
        case("gzip", wav().header("Content-Encoding", "gzip"), Failed, PROTOCOL),
        case("text", Reply::text("no such file"), Failed, PROTOCOL),
        case("an image", raw().content_type("image/png"), Failed, PROTOCOL),
        case("json no code", Reply::json("{}"), Failed, PROTOCOL),
        case("json half", Reply::json(r#"{"resultCode":"03000"#), Failed, PROTOCOL),
        case(
            "json huge",
            Reply::json(format!("{{\"a\":\"{}\"", "x".repeat(70_000))),
            Failed,
            PROTOCOL,
        ),
        case("no HTTP", Reply::garbage(b"SSH-2.0-x\r\n\r\n"), Failed, PROTOCOL),
        case("empty", Reply::empty(), Failed, "ccfs.empty"),
        case("empty chunks", Reply::empty().framing(Framing::Chunked), Failed, "ccfs.empty"),
        case("empty closing", Reply::empty().framing(Framing::Close), Failed, "ccfs.empty"),
        case("reset", Reply::reset(), Failed, "ccfs.unreachable"),
        case("closed", Reply::close(), Failed, "ccfs.unreachable"),
        case("silent", Reply::hang(), Failed, TIMEOUT).says("ccfs.read_timeout"),
        case("silent JSON", Reply::code("0300012").stall_at(9), Failed, TIMEOUT),
        case("a call of many", Reply::code("0300004"), Dead, "ccfs.0300004"),
    ]);
    all
}

const FIREWALL: &str = "ccfs.firewall";
const PROTOCOL: &str = "ccfs.protocol";
const TIMEOUT: &str = "ccfs.timeout";

fn raw() -> Reply {
    Reply::recording(Recording::raw(8 << 10))
}

#[tokio::test]
async fn whatever_is_no_recording_is_judged_by_its_first_bytes_and_status() {
    let world = World::new().await;
    let worker = world.worker(&[LOOK]).await;
    let cases: Vec<_> = wrapped().into_iter().chain(neither()).collect();

    play(&world, &worker, &cases).await;

    assert_eq!(world.store.seen_of(crate::support::s3::Op::Put).len(), 0, "nothing was sent");
    assert_eq!(world.ccfs.requests().len(), cases.len(), "each was asked for once");
    assert_counted(&worker, &cases, same_labels).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_recording_over_the_limit_is_dead_and_a_broken_archive_waits() {
    let world = World::new().await;
    let limit = ("ccfs", "max_size = \"100KiB\"");
    let worker = world.worker(&[LOOK, limit]).await;
    let big = || Reply::wav(200 << 10);
    let zip = |fault| Reply::recording(Recording::zip([4000, 5000]).fault(fault));
    let cases = [
        case("big, declared", big(), End::Dead, "ccfs.too_large").says("ccfs.max_size"),
        case("big in chunks", big().framing(Framing::Chunked), End::Dead, "ccfs.too_large"),
        case("big, closing", big().framing(Framing::Close), End::Dead, "ccfs.too_large"),
        case("zip without end", zip(ZipFault::NoEnd), End::Failed, "ccfs.truncated"),
        case("zip, directory bad", zip(ZipFault::BadDirectory), End::Failed, "ccfs.truncated"),
    ];

    play(&world, &worker, &cases).await;

    // The exact limit is within it.
    world.ccfs.script("just right", [Reply::recording(Recording::raw(100 << 10))]);
    world.call("just right").await;
    let event = world.event().await.json();
    assert_eq!(event["data"]["objects"][0]["size"], json!(100 << 10));
    worker.stop().await;
}
