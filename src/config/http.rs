//! `[http]`: probes, metrics and the live page.

use std::net::SocketAddr;

use super::kinds::address;
use super::section::Section;

/// `[http]`: probes and metrics.
#[derive(Clone, Debug)]
pub struct Http {
    pub listen: SocketAddr,
}

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Http> {
    let listen = s.text("listen", Some("127.0.0.1:9464"), address);
    Some(Http { listen: listen? })
}
