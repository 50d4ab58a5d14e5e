//! Every way in which a network breaks, and connections that last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callvault::ccfs::Ask;
use callvault::request::{CallId, CcId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::{
    AT_ONCE, CALL, IMPATIENCE, PATIENCE, ask, assert_failure, client, client_with, drain, fetch,
    said, same, settings,
};
use crate::support::ccfs::{Framing, Reply, Simulator};
use crate::support::{eventually, free_port};

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
}

/// Where the connection's end is the body's, a reset is as good an end: the content has to prove it.
#[tokio::test]
async fn a_body_that_ends_with_a_reset_is_whole_if_it_says_so_itself() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let reset = |reply: Reply| {
        let at = reply.content(CALL).length();
        reply.framing(Framing::Close).reset_at(at)
    };
    for recording in [Reply::wav(5000), Reply::zip([100, 3000])] {
        ccfs.script(CALL, [reset(recording)]);
        same(&fetch(&client).await.unwrap(), &ccfs.expected(CALL));
    }
    assert_failure(reset(Reply::code("0300012")), "ccfs.0300012/NotReady").await;
    let nothing = Reply::empty().framing(Framing::Close).reset_at(0);
    assert_failure(nothing, "ccfs.truncated/Failure").await;
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
    // The time to connect, which is longer here, is none to wait for an answer.
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

/// Nor do they give more time, however many there are; a server that never stops is hung up on.
#[tokio::test]
async fn interim_answers_are_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Whoever is answered before it has asked hangs up.
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        // The client has its turn after each.
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let mut settings = settings(&[&url]);
    settings.read_timeout = IMPATIENCE;
    assert_eq!(said(fetch(&client_with(&settings)).await).0, "ccfs.timeout/Unavailable");
    server.await.expect("its connection was closed");
}

/// Who has fewer under way than it may have keeps some connections for the next, not all.
#[tokio::test]
async fn half_of_the_connections_are_kept_idle() {
    let ccfs = Simulator::start().await;
    let client = client(&ccfs);
    let all_at_once = || async {
        let (open, opened) = watch::channel(false);
        ccfs.script(CALL, vec![Reply::wav(500).once(opened); AT_ONCE]);
        let before = ccfs.connections();
        let answers = futures_util::future::join_all((0..AT_ONCE).map(|_| fetch(&client)));
        let under_way = eventually("all are under way", PATIENCE, || async {
            (ccfs.active() == AT_ONCE).then(|| open.send_replace(true))
        });
        let (answers, _) = tokio::join!(answers, under_way);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        ccfs.connections() - before
    };
    assert_eq!(all_at_once().await, AT_ONCE as u64);
    // What is idle is known a moment after the answer's end.
    eventually("half are connected anew", PATIENCE, || async {
        (all_at_once().await == AT_ONCE as u64 / 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_waited_for_is_told_from_what_is_connected_to() {
    let asked = AtomicUsize::new(0);
    let call_id = CallId::new(CALL).unwrap();
    let cc_id = CcId::new("1").unwrap();
    let ask = Ask { call_id: Some(&call_id), file_name: None, cc_id: &cc_id };
    let connected = || {
        asked.fetch_add(1, Ordering::SeqCst);
    };
    // Accepts, and says nothing of TLS.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = settings(&[&format!("https://{}", mute.local_addr().unwrap())]);
    silent.connect_timeout = IMPATIENCE;
    let answer = client_with(&silent).download(&ask, connected).await;
    assert_eq!(said(answer).0, "ccfs.unreachable/Unavailable");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing was asked yet");

    let ccfs = Simulator::start().await;
    ccfs.script(CALL, [Reply::wav(500), Reply::hang()]);
    let mut settings = settings(&[&ccfs.url()]);
    settings.read_timeout = IMPATIENCE;
    let client = client_with(&settings);
    let download = client.download(&ask, connected).await.unwrap();
    assert_eq!(asked.swap(0, Ordering::SeqCst), 1, "on a new connection");
    drain(download).await.unwrap();
    said(client.download(&ask, connected).await);
    assert!(asked.load(Ordering::SeqCst) >= 1, "on one that was kept");
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
    // A connection is back in the pool a moment after its last byte, so one more may be opened.
    assert!(ccfs.connections() < 5, "{} connections", ccfs.connections());
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
