//! TLS as servers in the field do it.

use callvault::config;

use super::{CALL, ask, client_with, drain, fetch, said, same, settings};
use crate::support::ccfs::{Certificate, Framing, OCTETS, Reply, Simulator};

fn trusting(ccfs: &Simulator) -> config::Ccfs {
    config::Ccfs { ca_file: Some(ccfs.ca_file()), ..settings(&[&ccfs.url()]) }
}

#[tokio::test]
async fn a_body_that_ends_without_close_notify_is_whole_if_it_says_so_itself() {
    let ccfs = Simulator::start_tls().await;
    let client = client_with(&trusting(&ccfs));
    let ragged = |reply: Reply| reply.framing(Framing::Close).ragged();
    for recording in [Reply::wav(100_000), Reply::zip([100, 3000])] {
        ccfs.script(CALL, [ragged(recording)]);
        same(&fetch(&client).await.unwrap(), &ccfs.expected(CALL));
    }
    let code = || Reply::code("0300012");
    for answer in [code(), code().content_type(OCTETS), code().with_status(404)] {
        ccfs.script(CALL, [ragged(answer)]);
        assert_eq!(said(fetch(&client).await).0, "ccfs.0300012/NotReady");
    }
    for torn in [code().cut_at(20), Reply::empty()] {
        let shown = format!("{torn:?}");
        ccfs.script(CALL, [ragged(torn)]);
        assert_eq!(said(fetch(&client).await).0, "ccfs.truncated/Failure", "{shown}");
    }
    // Where the framing says how long it is, nothing else does.
    for framing in [Framing::Length, Framing::Chunked] {
        ccfs.script(CALL, [Reply::wav(100_000).framing(framing).cut_at(99_999).ragged()]);
        assert_eq!(said(fetch(&client).await).0, "ccfs.truncated/Failure", "{framing:?}");
    }
    // What arrived of a torn recording is for the proof to refuse.
    for came in [3, 5000] {
        ccfs.script(CALL, [ragged(Reply::wav(100_000).cut_at(came))]);
        let download = ask(&client, Some(CALL), None).await.unwrap();
        assert_eq!(drain(download).await.unwrap().len() as u64, came);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_where_it_is_named_itself() {
    let ccfs = Simulator::start_tls_with(Certificate::SelfSigned).await;
    same(&fetch(&client_with(&trusting(&ccfs))).await.unwrap(), &ccfs.expected(CALL));
    // Another of the same kind is not.
    let other = Simulator::start_tls_with(Certificate::SelfSigned).await;
    let wrong = config::Ccfs { ca_file: Some(other.ca_file()), ..settings(&[&ccfs.url()]) };
    for stranger in [wrong, settings(&[&ccfs.url()])] {
        let (reason, detail) = said(fetch(&client_with(&stranger)).await);
        assert_eq!(reason, "ccfs.unreachable/Unavailable");
        assert!(detail.contains("name exactly this certificate in ca_file"), "{detail}");
    }
    assert_eq!(ccfs.requests().len(), 1);
}

/// curl takes it for a chain of one: whoever names it has looked at it.
#[tokio::test]
async fn a_servers_certificate_is_taken_where_it_is_named_itself() {
    let ccfs = Simulator::start_tls_with(Certificate::Leaf).await;
    same(&fetch(&client_with(&trusting(&ccfs))).await.unwrap(), &ccfs.expected(CALL));
    let other = Simulator::start_tls_with(Certificate::Leaf).await;
    let wrong = config::Ccfs { ca_file: Some(other.ca_file()), ..settings(&[&ccfs.url()]) };
    assert_eq!(said(fetch(&client_with(&wrong)).await).0, "ccfs.unreachable/Unavailable");
    assert_eq!(ccfs.requests().len(), 1);
}

#[tokio::test]
async fn a_named_certificate_needs_a_name_and_dates_that_fit() {
    let ccfs = Simulator::start_tls_with(Certificate::CommonName).await;
    same(&fetch(&client_with(&trusting(&ccfs))).await.unwrap(), &ccfs.expected(CALL));
    for (certificate, says) in [
        (Certificate::Expired, "expired"),
        (Certificate::Elsewhere, "not valid for name"),
        (Certificate::CommonNameElsewhere, "not valid for"),
        (Certificate::LeafExpired, "expired"),
        (Certificate::LeafElsewhere, "not valid for name"),
    ] {
        let ccfs = Simulator::start_tls_with(certificate).await;
        let (reason, detail) = said(fetch(&client_with(&trusting(&ccfs))).await);
        assert_eq!(reason, "ccfs.unreachable/Unavailable");
        assert!(detail.contains(says), "{detail}");
        assert!(ccfs.requests().is_empty());
    }
}
