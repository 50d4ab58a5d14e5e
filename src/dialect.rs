//! Whether who was asked in the clear speaks TLS: asked by who diagnoses, never by who works.
//!
//! Must know neither who asks nor why.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an answer.
const MOST: usize = 1024;

/// Whether who listens at this address speaks TLS: it says so of what is none, by an alert, or as web
/// servers do, in words.
pub async fn speaks_tls(url: &Url) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let asking = async {
        let mut stream = TcpStream::connect((host, port)).await.ok()?;
        stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = Vec::new();
        // One that goes on, or breaks off, has begun all the same.
        let _ = stream.take(MOST as u64).read_to_end(&mut answer).await;
        Some(is_of_tls(&answer))
    };
    timeout(PATIENCE, asking).await.ok().flatten().unwrap_or(false)
}

fn is_of_tls(answer: &[u8]) -> bool {
    let alert = matches!(answer, [0x15, 3, ..]);
    let text = String::from_utf8_lossy(answer);
    alert || text.contains("HTTPS server") || text.contains("HTTPS port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_tls_says_so_by_an_alert_or_in_words() {
        assert!(is_of_tls(&[0x15, 3, 3, 0, 2, 2, 70]));
        assert!(is_of_tls(
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        ));
        assert!(is_of_tls(
            b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port"
        ));
        assert!(!is_of_tls(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert!(!is_of_tls(b""));
    }
}
