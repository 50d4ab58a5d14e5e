//! What goes over the network so that anybody on the way can read it. Pure.

use std::net::IpAddr;

use url::Url;

/// Whether a host is this machine, as its name or address alone tells.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Host and port, for people.
pub fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether what is sent there can be read on its way: no TLS, and another machine.
pub fn goes_plain(url: &Url) -> bool {
    let plain = matches!(url.scheme(), "http" | "amqp");
    plain && url.host_str().is_some_and(|host| !is_this_machine(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_this_machine_without_tls_is_plain() {
        for (url, plain) in [
            ("http://127.0.0.1:9000", false),
            ("http://127.8.0.1", false),
            ("http://[::1]:9000", false),
            ("amqp://u:p@[::1]:5672/%2f", false),
            ("amqp://u:p@localhost", false),
            ("https://s3.example.com", false),
            ("amqps://mq.example.com", false),
            ("http://s3.example.com", true),
            ("amqp://u:p@mq.example.com:5672/%2f", true),
            ("amqp://10.0.0.1", true),
            ("http://localhost.example.com", true),
        ] {
            assert_eq!(goes_plain(&url.parse().unwrap()), plain, "{url}");
        }
    }
}
