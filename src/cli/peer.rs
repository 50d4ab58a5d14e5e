//! A question to a running worker.
//!
//! A few lines of HTTP/1.1 by hand, so that a probe needs neither a runtime nor a TLS stack.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

/// A probe that waits longer is of no use to whoever started it.
const DEADLINE: Duration = Duration::from_secs(4);
/// More than a worker ever says, and little enough to read from a stranger.
const MOST_BYTES: usize = 1024 * 1024;

/// What GET answers, head and body. Blocks for four seconds at most.
///
/// # Errors
/// There is no answer within that time.
pub fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + DEADLINE;
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer).map_err(as_timeout) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            // Who answers and keeps the connection is judged by what it said.
            Err(_) if !answer.is_empty() => return Ok(answer),
            Err(error) => return Err(error),
        }
        if answer.len() > MOST_BYTES {
            return Ok(answer);
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timeout()) } else { Ok(left) }
}

/// A read that ran into its limit says `WouldBlock` on Unix.
fn as_timeout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { timeout() } else { error }
}

fn timeout() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing within {} s", DEADLINE.as_secs()))
}

/// Who listens on all addresses is asked on loopback.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_everywhere_is_asked_on_loopback() {
        let at = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(at("[::]:9464"), "[::1]:9464");
        assert_eq!(at("10.1.2.3:80"), "10.1.2.3:80");
    }
}
