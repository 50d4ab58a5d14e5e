//! Servers that are no S3, or a bad one: each connection is one request, answered with bytes that the
//! test has written.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it says to a request, of which it is given the first line.
type Says = dyn Fn(&str) -> Reply + Send + Sync;

/// An answer.
pub enum Reply {
    /// Head and body, as they are.
    Whole(String),
    /// This head, then this body again and again, until nobody reads any more.
    Endless(String, &'static str),
}

/// The server; it ends when this is dropped.
pub struct Odd {
    address: SocketAddr,
    sent: Arc<Mutex<u64>>,
    accepting: JoinHandle<()>,
}

impl Odd {
    pub async fn start(says: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (says, sent): (Arc<Says>, _) = (Arc::new(says), Arc::new(Mutex::new(0)));
        let accepting = tokio::spawn({
            let sent = Arc::clone(&sent);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(answer(stream, Arc::clone(&says), Arc::clone(&sent)));
                }
            }
        });
        Self { address, sent, accepting }
    }

    /// A page for people, whatever is asked.
    pub async fn web_page() -> Self {
        Self::start(|request| {
            let page = "<!doctype html><html><body>console</body></html>";
            let body = if request.starts_with("HEAD ") { "" } else { page };
            Reply::Whole(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                page.len()
            ))
        })
        .await
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of endless bodies that went out.
    pub fn sent(&self) -> u64 {
        *self.sent.lock().expect("no panic holds the lock")
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An S3 error with this text.
pub fn error(status: &str, code: &str, message: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let length = body.len();
    Reply::Whole(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    ))
}

/// Ends, quietly, when the client does.
async fn answer(stream: TcpStream, says: Arc<Says>, sent: Arc<Mutex<u64>>) {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim().is_empty() => break,
            Ok(_) => {}
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        request += &line;
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).await.is_err() {
        return;
    }
    match says(&request) {
        Reply::Whole(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Reply::Endless(head, piece) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(piece.as_bytes()).await.is_ok() {
                *sent.lock().expect("no panic holds the lock") += piece.len() as u64;
            }
        }
    }
}
