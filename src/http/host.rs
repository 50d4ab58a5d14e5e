//! A page that someone's browser has open elsewhere may let its own name lead to this machine (DNS
//! rebinding) and read what answers. Who listens on a loopback address answers to that address alone.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use crate::config::is_this_machine;

/// The routes of a server that listens on `address`. On one that other machines reach, its names are
/// not known here.
pub(super) fn guarded(routes: Router, address: SocketAddr) -> Router {
    if address.ip().is_loopback() { routes.layer(from_fn(to_loopback)) } else { routes }
}

async fn to_loopback(request: Request, next: Next) -> Response {
    // HTTP/1.0 need not name a host; browsers do.
    let named = request.headers().get(header::HOST);
    if named.is_none_or(|host| host.to_str().is_ok_and(is_loopback)) {
        return next.run(request).await;
    }
    let told = "callvault listens on a loopback address here (http.listen) and answers to localhost and \
                to such addresses alone; a proxy before it must send such a Host\n";
    (StatusCode::MISDIRECTED_REQUEST, told).into_response()
}

/// Whether `Host` (RFC 9110, 7.2) names this machine as itself alone knows it (RFC 6761, 6.3).
fn is_loopback(host: &str) -> bool {
    let without_port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let name = without_port.map_or(host, |(name, _)| name);
    is_this_machine(&name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_its_own() {
        for host in [
            "localhost",
            "LOCALHOST:9464",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "a.localhost",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "127.0.0.1.evil.example",
            "notlocalhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
