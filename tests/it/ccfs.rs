//! The CC-FS client against the simulator, over sockets: every kind of answer, every way in which
//! a network breaks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Once;
use std::time::Duration;

use callvault::ccfs::signature::{ToSign, authorization};
use callvault::ccfs::{Ask, Client, ClientError, Download, PATH};
use callvault::config::{self, Secret};
use callvault::failure::{Class, Failure};
use callvault::recording::{Format, Framing as Marked};
use callvault::request::{CallId, CcId, FileName};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::support::ccfs::{
    Codec, Content, Framing, Limit, OCTETS, Recording, Reply, Simulator, Sizes, by_name, sign,
};
use crate::support::{eventually, free_port};

const CALL: &str = "1777093663-792075";
const FILE: &str = r"X:\4\0\20260425\512\录音 (1)+%~.V3";

/// Long enough for a loaded machine; tests that wait for a timeout set their own.
const PATIENCE: Duration = Duration::from_secs(30);
const IMPATIENCE: Duration = Duration::from_millis(200);

fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

fn settings(endpoints: &[&str]) -> config::Ccfs {
    config::Ccfs {
        endpoints: endpoints.iter().map(|url| url.parse().expect("a URL")).collect(),
        ca_file: None,
        proxy: None,
        host: None,
        connect_timeout: PATIENCE,
        read_timeout: PATIENCE,
        max_size: 1 << 30,
        result_codes: BTreeMap::new(),
    }
}

fn client_with(settings: &config::Ccfs) -> Client {
    crypto();
    let secret = Secret::fixed(Simulator::SECRET_KEY);
    Client::new(settings, Simulator::ACCESS_KEY, &secret).expect("usable settings")
}

fn client(ccfs: &Simulator) -> Client {
    client_with(&settings(&[&ccfs.url()]))
}

async fn ask(
    client: &Client,
    call_id: Option<&str>,
    file: Option<&str>,
) -> Result<Download, Failure> {
    let call_id = call_id.map(|id| CallId::new(id).expect("a call id"));
    let file_name = file.map(|name| FileName::new(name).expect("a file name"));
    let cc_id = CcId::new("1").expect("a ccId");
    let ask = Ask { call_id: call_id.as_ref(), file_name: file_name.as_ref(), cc_id: &cc_id };
    client.download(&ask).await
}

async fn drain(mut download: Download) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Asks for the call and reads the whole recording.
async fn fetch(client: &Client) -> Result<Vec<u8>, Failure> {
    drain(ask(client, Some(CALL), None).await?).await
}

/// `reason/class` of the failure that `reply` leads to, and its detail.
async fn failure_of(reply: Reply) -> (String, String) {
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [reply]);
    said(fetch(&client(&ccfs)).await)
}

fn said<T>(result: Result<T, Failure>) -> (String, String) {
    let Err(failure) = result else { panic!("a recording where none should be") };
    (format!("{}/{:?}", failure.reason, failure.class), failure.detail)
}

async fn assert_failure(reply: Reply, expected: &str) {
    let shown = format!("{reply:?}");
    assert_eq!(failure_of(reply).await.0, expected, "{shown}");
}

fn same(got: &[u8], expected: &Content) {
    assert_eq!(got.len() as u64, expected.length());
    assert!(got == expected.to_vec(), "other bytes");
}

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
                Framing::Close => Marked::Close,
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

#[tokio::test]
async fn the_result_code_says_the_class() {
    for (code, expected) in [
        ("0300004", "ccfs.0300004/Permanent"),
        ("0300008", "ccfs.0300008/Throttled"),
        ("0300011", "ccfs.0300011/NotReady"),
        ("0399999", "ccfs.0399999/Failure"),
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

#[tokio::test]
async fn a_body_that_is_cut_is_never_whole() {
    let wav = || Reply::wav(100_000);
    for framing in [Framing::Length, Framing::Chunked] {
        for at in [0, 1, 3, 57, 5_000, 99_999] {
            let cut = wav().framing(framing).cut_at(at);
            assert_failure(cut, "ccfs.truncated/Failure").await;
            let reset = wav().framing(framing).pieces(1000, Duration::ZERO).reset_at(at);
            assert_failure(reset, "ccfs.truncated/Failure").await;
        }
    }
    assert_failure(wav().framing(Framing::Chunked).cut_at(100_000), "ccfs.truncated/Failure").await;
    assert_failure(wav().declared_length(200_000), "ccfs.truncated/Failure").await;
    assert_failure(Reply::code("0300012").cut_at(20), "ccfs.truncated/Failure").await;
    assert_failure(wav().framing(Framing::Close).cut_at(3), "ccfs.truncated/Failure").await;
}

#[tokio::test]
async fn a_length_that_is_too_short_ends_the_body_there() {
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::wav(1000).declared_length(500)]);
    let client = client(&ccfs);
    let got = fetch(&client).await.unwrap();
    assert_eq!(got, ccfs.expected(CALL).to_vec()[..500], "for the proof to refuse");
    ccfs.script(CALL, [Reply::wav(1000)]);
    same(&fetch(&client).await.unwrap(), &ccfs.expected(CALL));
}

#[tokio::test]
async fn silence_is_a_timeout_wherever_it_begins() {
    let ccfs = Simulator::start().await;
    let mut settings = settings(&[&ccfs.url()]);
    settings.connect_timeout = IMPATIENCE;
    settings.read_timeout = IMPATIENCE;
    let client = client_with(&settings);
    let code = || Reply::code("0300012");
    for reply in [
        Reply::hang(),
        Reply::wav(5000).after(PATIENCE),
        Reply::wav(5000).stall_at(0),
        Reply::wav(5000).stall_at(2),
        Reply::wav(5000).stall_at(3000),
        Reply::wav(5000).framing(Framing::Chunked).stall_at(3000),
        code().stall_at(20),
    ] {
        ccfs.script(CALL, [reply]);
        let (reason, detail) = said(fetch(&client).await);
        assert_eq!(reason, "ccfs.timeout/Unavailable");
        assert!(detail.contains("ccfs.read_timeout"), "{detail}");
    }
    // What an error's status said stands, though its body never comes.
    ccfs.script(CALL, [Reply::json("{\"x\":1}").with_status(500).stall_at(3)]);
    assert_eq!(said(fetch(&client).await).0, "ccfs.http_500/Unavailable");
    eventually("the simulator sees that the client has gone", PATIENCE, || async {
        (ccfs.active() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_body_is_no_timeout_while_bytes_come() {
    let ccfs = Simulator::start().await;
    let mut settings = settings(&[&ccfs.url()]);
    settings.read_timeout = Duration::from_secs(2);
    ccfs.script(CALL, [Reply::wav(1000).pieces(40, Duration::from_millis(100))]);
    same(&fetch(&client_with(&settings)).await.unwrap(), &ccfs.expected(CALL));
}

#[tokio::test]
async fn a_connection_that_breaks_before_an_answer_is_not_tried_again() {
    for reply in [Reply::reset(), Reply::close(), Reply::garbage(b"HTTP/1.1 20")] {
        let ccfs = Simulator::start().await;
        ccfs.script(CALL, [reply, Reply::wav(100)]);
        let (reason, _) = said(fetch(&client(&ccfs)).await);
        assert_eq!(reason, "ccfs.unreachable/Unavailable");
        assert_eq!(ccfs.requests().len(), 1);
    }
    let garbage = Reply::garbage(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n");
    assert_failure(garbage, "ccfs.protocol/Failure").await;
}

#[tokio::test]
async fn a_recording_over_the_limit_is_refused_early_or_late() {
    let ccfs = Simulator::start().await;
    let mut settings = settings(&[&ccfs.url()]);
    settings.max_size = 100_000;
    let client = client_with(&settings);
    ccfs.script(CALL, [Reply::wav(100_000)]);
    same(&fetch(&client).await.unwrap(), &ccfs.expected(CALL));
    ccfs.script(CALL, [Reply::wav(100_002)]);
    let early = ask(&client, Some(CALL), None).await;
    assert_eq!(said(early).0, "ccfs.too_large/Permanent");
    ccfs.script(CALL, [Reply::wav(200_000).framing(Framing::Chunked)]);
    let late = ask(&client, Some(CALL), None).await.unwrap();
    assert_eq!(said(drain(late).await).0, "ccfs.too_large/Permanent");
}

#[tokio::test]
async fn every_way_of_asking_is_signed_right() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    for (call_id, file) in [(Some(CALL), None), (None, Some(FILE)), (Some(CALL), Some(FILE))] {
        drain(ask(&client, call_id, file).await.unwrap()).await.unwrap();
        let seen = ccfs.requests().pop().unwrap();
        assert_eq!(seen.verified, Ok(Simulator::ACCESS_KEY.to_owned()));
        assert_eq!(seen.asked.call_id.as_deref(), call_id);
        assert_eq!(seen.asked.file_name.as_deref(), file);
        assert_eq!(seen.asked.cc_id, "1");
        let names: Vec<_> = seen.raw.headers.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "host",
            "accept",
            "accept-encoding",
            "content-type",
            "content-length",
            "authorization",
        ];
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn a_refused_key_is_refused_and_told_from_a_wrong_clock() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    ccfs.account(Simulator::ACCESS_KEY, "rotated");
    let (reason, detail) = said(fetch(&client).await);
    assert_eq!(reason, "ccfs.unauthorized/Refused");
    assert!(detail.ends_with("the clocks agree"), "{detail}");
    ccfs.account(Simulator::ACCESS_KEY, Simulator::SECRET_KEY);
    fetch(&client).await.unwrap();

    for (minutes, side) in [(10, "behind CC-FS"), (-10, "ahead of CC-FS")] {
        ccfs.clock_offset(SignedDuration::from_mins(minutes));
        let (reason, detail) = said(fetch(&client).await);
        assert_eq!(reason, "ccfs.unauthorized/Refused");
        assert!(detail.contains("the clock here is ") && detail.ends_with(side), "{detail}");
    }
}

#[tokio::test]
async fn nothing_that_a_server_says_of_a_call_gets_into_a_failure() {
    let (_, detail) = failure_of(Reply::code("0300012")).await;
    let (_, odd) = failure_of(Reply::code("no 13800138000 here")).await;
    for text in [detail, odd] {
        assert!(!text.contains("13800138000") && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn endpoints_are_tried_in_order_when_one_cannot_be_reached() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    let client = client_with(&settings(&[&first.url(), &second.url()]));
    fetch(&client).await.unwrap();
    first.down().await;
    fetch(&client).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    first.up().await;
    first.script(CALL, [Reply::status(500)]);
    let (reason, _) = said(fetch(&client).await);
    assert_eq!(reason, "ccfs.http_500/Unavailable", "an answer is an answer");
    assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
    first.down().await;
    second.down().await;
    let (reason, detail) = said(fetch(&client).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
    assert!(detail.contains("any of 2 endpoints") && detail.contains("refused"), "{detail}");
}

#[tokio::test]
async fn what_does_not_resolve_or_never_shakes_hands_is_unreachable() {
    let (reason, _) = said(fetch(&client_with(&settings(&["http://ccfs.invalid:1"]))).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
    // Accepts, and says nothing of TLS.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&[&format!("https://{}", mute.local_addr().unwrap())]);
    settings.connect_timeout = IMPATIENCE;
    let (reason, _) = said(fetch(&client_with(&settings)).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
}

#[tokio::test]
async fn the_configured_host_is_sent_and_signed() {
    let ccfs = Simulator::start().await;
    ccfs.expect_host("ccfs.example.com:28443");
    let own = settings(&[&ccfs.url()]);
    assert_eq!(said(fetch(&client_with(&own)).await).0, "ccfs.http_421/Failure");
    let behind_nslb = config::Ccfs { host: Some("ccfs.example.com:28443".to_owned()), ..own };
    fetch(&client_with(&behind_nslb)).await.unwrap();
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_named() {
    let ccfs = Simulator::start_tls().await;
    let stranger = settings(&[&ccfs.url()]);
    let (reason, detail) = said(fetch(&client_with(&stranger)).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
    assert!(detail.contains("certificate"), "{detail}");
    let friend = config::Ccfs { ca_file: Some(ccfs.ca_file()), ..stranger };
    same(&fetch(&client_with(&friend)).await.unwrap(), &ccfs.expected(CALL));
}

#[tokio::test]
async fn settings_that_cannot_be_used_name_their_key() {
    crypto();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let good = || settings(&["https://ccfs.example.com"]);
    let refused = |settings: config::Ccfs, access_key: &str| -> ClientError {
        let secret = Secret::fixed("s");
        Client::new(&settings, access_key, &secret).err().expect("an error")
    };
    for file in [folder.path().join("missing.pem"), empty, broken] {
        let error = refused(config::Ccfs { ca_file: Some(file), ..good() }, "ak").to_string();
        assert!(error.starts_with("ccfs.ca_file: "), "{error}");
    }
    let proxy = Some("ftp://127.0.0.1".parse().unwrap());
    let error = refused(config::Ccfs { proxy, ..good() }, "ak").to_string();
    assert!(error.starts_with("ccfs.proxy: "), "{error}");
    let host = Some("two\r\nlines".to_owned());
    let error = refused(config::Ccfs { host, ..good() }, "ak").to_string();
    assert!(error.starts_with("ccfs.host: "), "{error}");
    let error = refused(good(), "a\nk").to_string();
    assert!(error.starts_with("access_key: "), "{error}");
}

#[tokio::test]
async fn a_proxy_is_used_only_when_it_is_named() {
    let proxy = Simulator::start().await;
    let beyond = settings(&["http://ccfs.invalid:8080"]);
    let through = config::Ccfs { proxy: Some(proxy.url().parse().unwrap()), ..beyond };
    same(&fetch(&client_with(&through)).await.unwrap(), &proxy.expected(CALL));
    let seen = proxy.requests().pop().unwrap();
    assert_eq!(seen.raw.target, format!("http://ccfs.invalid:8080{PATH}"));
    assert_eq!(seen.raw.header("host"), Some("ccfs.invalid:8080"));
    proxy.down().await;
    assert_eq!(said(fetch(&client_with(&through)).await).0, "ccfs.unreachable/Unavailable");
}

#[tokio::test]
async fn connections_are_used_again_after_recordings_and_result_codes() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    ccfs.script(
        CALL,
        [Reply::not_found(), Reply::wav(100_000), Reply::wav(500).framing(Framing::Chunked)],
    );
    said(fetch(&client).await);
    for _ in 0..4 {
        fetch(&client).await.unwrap();
    }
    assert_eq!(ccfs.requests().len(), 5);
    assert_eq!(ccfs.connections(), 1);
}

#[tokio::test]
async fn a_download_that_is_dropped_closes_its_connection() {
    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::wav(1 << 30)]);
    let download = ask(&client(&ccfs), Some(CALL), None).await.unwrap();
    assert_eq!(ccfs.active(), 1);
    drop(download);
    eventually("the simulator stops sending", PATIENCE, || async {
        (ccfs.active() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_outage_ends_without_a_new_client() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    fetch(&client).await.unwrap();
    ccfs.down().await;
    assert_eq!(said(fetch(&client).await).0, "ccfs.unreachable/Unavailable");
    ccfs.up().await;
    fetch(&client).await.unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (reason, detail) = said(fetch(&client_with(&settings(&[&nobody]))).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
    assert!(detail.contains(&nobody["http://".len()..]), "{detail}");
}

#[tokio::test]
async fn the_simulator_keeps_accounts_and_limits() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    ccfs.account("other", "key");
    ccfs.script_for("other", CALL, [Reply::wav(100)]);
    assert_eq!(said(fetch(&client).await).0, "ccfs.0300012/NotReady");
    let other = settings(&[&ccfs.url()]);
    let other = Client::new(&other, "other", &Secret::fixed("key")).unwrap();
    same(&fetch(&other).await.unwrap(), &ccfs.expected(CALL));

    ccfs.limit(Simulator::ACCESS_KEY, Limit { concurrent: Some(1), per_second: None });
    ccfs.script("1-1", [Reply::wav(1 << 30)]);
    let first = ask(&client, Some("1-1"), None).await.unwrap();
    assert_eq!(said(ask(&client, Some("1-2"), None).await).0, "ccfs.0300008/Throttled");
    drop(first);
    let limit = || async { ask(&client, Some("1-2"), None).await.ok() };
    drain(eventually("the limit lets another one in", PATIENCE, limit).await).await.unwrap();
}

#[tokio::test]
async fn a_name_can_ask_for_its_answers() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let get = async |name: &str| match ask(&client, Some(name), None).await {
        Ok(download) => drain(download).await.map(|all| all.len()),
        Err(failure) => Err(failure),
    };
    assert_eq!(said(get("1777093663-nf.th.w1k").await).0, "ccfs.0300012/NotReady");
    assert_eq!(said(get("1777093663-nf.th.w1k").await).0, "ccfs.0300008/Throttled");
    assert_eq!(get("1777093663-nf.th.w1k").await.unwrap(), 1024);
    assert_eq!(get("1777093663-nf.th.w1k").await.unwrap(), 1024);
    assert_eq!(said(get("1777093663-cut").await).0, "ccfs.truncated/Failure");
    assert_eq!(said(get("1777093663-h500").await).0, "ccfs.http_500/Unavailable");
    assert_eq!(get(CALL).await.unwrap(), 64 << 10);
    assert!(by_name("1777093663-792075").is_none());
}

#[test]
fn the_simulators_recordings_are_what_they_say() {
    let wav = |recording: Recording| recording.content(CALL).to_vec();
    let alaw = wav(Recording::wav(1000));
    assert_eq!(&alaw[..4], b"RIFF");
    assert_eq!(u32::from_le_bytes(alaw[4..8].try_into().unwrap()), 992);
    assert_eq!(alaw[20], 6);
    assert_eq!(wav(Recording::wav(1000).codec(Codec::Pcm16)).len(), 1000);
    assert_eq!(wav(Recording::wav(1000).sizes(Sizes::Max))[4..8], [0xFF; 4]);
    assert_ne!(alaw, Recording::wav(1000).content("another").to_vec());
    let big = Recording::wav(20_000_000).content(CALL);
    let all = big.to_vec();
    assert_eq!(all.len() as u64, big.length());
    assert_eq!(big.piece(8_000_000, 4000)[..], all[8_000_000..8_004_000]);
}

#[derive(serde::Deserialize)]
struct Vector {
    method: String,
    path: String,
    access_key: String,
    secret_key: String,
    unix_time: i64,
    headers: BTreeMap<String, String>,
    body: String,
    authorization: String,
}

#[test]
fn the_simulators_own_signature_reproduces_every_vector() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../fixtures/auth-v2-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 24);
    for v in vectors {
        let headers: Vec<_> = v.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let at = Timestamp::from_second(v.unix_time).unwrap().to_string();
        let body = v.body.as_bytes();
        let signed = sign(&v.method, &v.path, &v.access_key, &v.secret_key, &at, &headers, body);
        assert_eq!(signed, v.authorization);
    }
}

proptest! {
    #[test]
    fn two_implementations_of_the_signature_agree(
        secret_key in "\\PC{1,100}",
        path in "/[a-zA-Z0-9/._~-]{0,40}",
        host in "[a-z0-9.:\\[\\]-]{1,40}",
        content_type in "[ -~]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
        second in 0_i64..4_000_000_000,
    ) {
        let length = body.len().to_string();
        let headers = [
            ("content-length", length.as_str()),
            ("content-type", content_type.as_str()),
            ("host", host.as_str()),
        ];
        let at = Timestamp::from_second(second).unwrap();
        let request = ToSign { method: "POST", path: &path, headers: &headers, body: &body };
        let ours = authorization("ak", &secret_key, at, &request);
        let theirs = sign("POST", &path, "ak", &secret_key, &at.to_string(), &headers, &body);
        prop_assert_eq!(ours, theirs);
    }
}

#[tokio::test]
async fn a_signed_request_can_be_shown_without_being_sent() {
    let ccfs = Simulator::start().await;
    let call_id = CallId::new(CALL).unwrap();
    let cc_id = CcId::new("1").unwrap();
    let ask = Ask { call_id: Some(&call_id), file_name: None, cc_id: &cc_id };
    let at: Timestamp = "2026-04-25T05:12:44Z".parse().unwrap();
    let signed = client(&ccfs).sign(&ask, at).unwrap();
    let headers: HashMap<_, _> =
        signed.headers.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    let covered = [
        ("content-length", headers["content-length"]),
        ("content-type", headers["content-type"]),
        ("host", headers["host"]),
    ];
    let (access_key, secret_key) = (Simulator::ACCESS_KEY, Simulator::SECRET_KEY);
    let expected =
        sign("POST", PATH, access_key, secret_key, "2026-04-25T05:12:44Z", &covered, &signed.body);
    assert_eq!(headers["authorization"], expected);
    assert_eq!(signed.url.as_str(), format!("{}{PATH}", ccfs.url()));
    assert!(!format!("{signed:?}").contains(secret_key));
    assert!(ccfs.requests().is_empty());
}
