//! `callvault healthcheck`: asks a running worker's `/readyz`; for images without a shell.

use std::io;
use std::net::SocketAddr;

use super::peer;

/// Why a worker is not ready, or why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    #[error("no answer from {0}: {1}; start the worker, or ask with the worker's own http.listen")]
    NoAnswer(SocketAddr, io::Error),
    #[error(
        "what listens on {0} is no callvault: its answer is not that of /readyz; ask with the \
         worker's own http.listen"
    )]
    Stranger(SocketAddr),
    #[error("not ready: {0}")]
    Says(String),
}

/// Asks the worker that listens on `listen` (`http.listen`). Blocks for four seconds at most.
///
/// # Errors
/// [`NotReady`], a line for people; the command then ends with 1.
pub fn run(listen: SocketAddr) -> Result<String, NotReady> {
    let address = peer::reachable(listen);
    let answer = peer::get(address, &address.to_string(), "/readyz")
        .map_err(|error| NotReady::NoAnswer(address, error))?;
    judge(&answer).ok_or(NotReady::Stranger(address))?
}

/// What an answer of `/readyz` says; `None` if it is none.
fn judge(answer: &[u8]) -> Option<Result<String, NotReady>> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let status: u16 = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let state = body["status"].as_str()?;
    let mut said = match body["reason"].as_str() {
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_owned(),
    };
    if let Some(warning) = body["warning"].as_str() {
        said += &format!("\n  warning: {warning}");
    }
    for refusal in body["refused"].as_array().into_iter().flatten() {
        let [target, reason, detail, since] =
            ["target", "reason", "detail", "since"].map(|key| refusal[key].as_str().unwrap_or("?"));
        said += &format!("\n  {target} refuses since {since}: {reason}: {detail}");
    }
    match status {
        200 => Some(Ok(format!("ready: {said}"))),
        503 => Some(Err(NotReady::Says(said))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Server, Shown, State};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    fn free(address: &str) -> TcpListener {
        TcpListener::bind(address).unwrap()
    }

    #[tokio::test]
    async fn it_says_what_the_worker_says() {
        let shown = Shown::new();
        let health = Arc::clone(&shown.health);
        let server = Server::bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
        let listen = server.address();
        tokio::spawn(server.serve(shown, std::future::pending()));
        let probe = async || tokio::task::spawn_blocking(move || run(listen)).await.unwrap();

        let error = probe().await.expect_err("not connected yet").to_string();
        assert_eq!(error, "not ready: connecting: starting");
        health.set(State::Consuming);
        assert_eq!(probe().await.unwrap(), "ready: consuming");

        let reason = crate::failure::Reason::CCFS_UNAUTHORIZED;
        health.refused("ccfs:acme", &reason, "the clock is 90 s slow");
        health.blocked(true);
        let since = health.refusing()[0].since;
        let ready = probe().await.unwrap();
        assert_eq!(
            ready,
            format!(
                "ready: consuming\n  warning: the broker blocks publishers: it is short of memory \
                 or disk\n  ccfs:acme refuses since {since:.0}: ccfs.unauthorized: the clock is \
                 90 s slow"
            )
        );
    }

    #[test]
    fn nobody_there_is_said_with_the_address() {
        let listener = free("127.0.0.1:0");
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = run(address).expect_err("nobody listens").to_string();
        assert!(error.starts_with(&format!("no answer from {address}: ")), "{error}");
    }

    #[test]
    fn a_stranger_is_no_worker() {
        let listener = free("127.0.0.1:0");
        let address = listener.local_addr().unwrap();
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<html>hello</html>").unwrap();
        });
        let error = run(address).expect_err("an HTML page is no readiness").to_string();
        stranger.join().unwrap();
        assert!(error.contains("is no callvault"), "{error}");
    }
}
