//! Endpoints, Host, TLS, proxy, limits: what an operator sets.

use callvault::ccfs::{Client, ClientError, PATH};
use callvault::config::{self, Secret};

use super::{AT_ONCE, CALL, ask, client_with, crypto, drain, fetch, said, same, settings};
use crate::support::ccfs::{Framing, Reply, Simulator};
use crate::support::tunnel::tunnels;

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
async fn endpoints_are_tried_in_order_when_one_cannot_be_reached() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    // No connection is kept: one to a server that has just gone is a request lost, not an endpoint
    // that cannot be reached.
    for server in [&first, &second] {
        server.default_reply(Reply::wav(500).framing(Framing::Close));
    }
    let both = settings(&[&first.url(), &second.url()]);
    let client = client_with(&both);
    fetch(&client).await.unwrap();
    first.down().await;
    fetch(&client).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    first.up().await;
    first.script(CALL, [Reply::status(500).framing(Framing::Close)]);
    fetch(&client).await.unwrap();
    assert_eq!((first.requests().len(), second.requests().len()), (1, 2), "it stands in");
    let (reason, _) = said(fetch(&client_with(&both)).await);
    assert_eq!(reason, "ccfs.http_500/Unavailable", "an answer is an answer");
    second.down().await;
    assert_eq!(said(fetch(&client).await).0, "ccfs.http_500/Unavailable");
    assert_eq!((first.requests().len(), second.requests().len()), (3, 2));
    first.down().await;
    let (reason, detail) = said(fetch(&client).await);
    assert_eq!(reason, "ccfs.unreachable/Unavailable");
    assert!(detail.contains("any of 2 endpoints") && detail.contains("refused"), "{detail}");
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
    // As an editor of Windows saves it.
    let marked = tempfile::NamedTempFile::new().unwrap();
    let pem = std::fs::read(ccfs.ca_file()).unwrap();
    std::fs::write(&marked, [&b"\xef\xbb\xbf"[..], &pem].concat()).unwrap();
    let friend = config::Ccfs { ca_file: Some(marked.path().to_owned()), ..friend };
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
        Client::new(&settings, access_key, &secret, AT_ONCE).err().expect("an error")
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
async fn https_goes_through_a_tunnel_of_the_proxys() {
    let ccfs = Simulator::start_tls().await;
    let (url, heads) = tunnels().await;
    let proxy = format!("http://me:p%40ss@{url}").parse().unwrap();
    let own = settings(&[&ccfs.url()]);
    let through = config::Ccfs { ca_file: Some(ccfs.ca_file()), proxy: Some(proxy), ..own };
    same(&fetch(&client_with(&through)).await.unwrap(), &ccfs.expected(CALL));
    let head = heads.lock().unwrap().pop().unwrap().to_ascii_lowercase();
    let server = ccfs.url().replace("https://", "");
    assert!(head.starts_with(&format!("connect {server} http/1.1\r\n")), "{head}");
    // me:p@ss
    assert!(head.contains("proxy-authorization: basic bwu6cebzcw==\r\n"), "{head}");
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
