//! Settings → the endpoints in their order, and what may be wrong with settings.

use std::path::PathBuf;

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use url::Url;

use crate::config;

/// Settings that cannot be used; the text names the key.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("ccfs.ca_file: cannot read {path}: {source}")]
    CaRead { path: PathBuf, source: std::io::Error },
    #[error(
        "ccfs.ca_file: {path} holds no usable certificate in PEM form{why}; name a file with the CA's BEGIN CERTIFICATE block"
    )]
    CaUse { path: PathBuf, why: String },
    #[error("ccfs.proxy: not usable: {0}")]
    Proxy(String),
    #[error("ccfs.host: not usable as a Host header")]
    Host(#[source] InvalidHeaderValue),
    #[error("ccfs.endpoints: not usable: {0}")]
    Endpoint(String),
    #[error("access_key: has characters that cannot stand in a header")]
    AccessKey,
    #[error(
        "ccfs.endpoints: TLS cannot be set up ({0}); without CA certificates on this machine, ccfs.ca_file has to name some"
    )]
    Tls(String),
}

/// Of an https:// address behind which nobody speaks TLS.
pub(super) const NO_TLS: &str = "what answers does not speak TLS (https:// in ccfs.endpoints)";

/// An address that CC-FS is asked at.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Without a path.
    pub url: Url,
    /// The Host sent and signed.
    pub host: HeaderValue,
    /// Host and port, for people.
    pub name: String,
}

impl Endpoint {
    /// The address of an interface.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

/// The endpoints in the order in which they are tried.
pub(super) fn endpoints(settings: &config::Ccfs) -> Result<Vec<Endpoint>, ClientError> {
    if settings.endpoints.is_empty() {
        return Err(ClientError::Endpoint("there is none".to_owned()));
    }
    settings.endpoints.iter().map(|base| endpoint(base, settings.host.as_deref())).collect()
}

fn endpoint(base: &Url, host: Option<&str>) -> Result<Endpoint, ClientError> {
    let own = base.host_str().ok_or_else(|| ClientError::Endpoint("no host".to_owned()))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(ClientError::Endpoint("the scheme must be http or https".to_owned()));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(ClientError::Endpoint("a user or password cannot be sent".to_owned()));
    }
    // `Url::port` leaves out the scheme's default, as the Host header does.
    let name = base.port().map_or_else(|| own.to_owned(), |port| format!("{own}:{port}"));
    let mut url = base.clone();
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    let host = HeaderValue::from_str(host.unwrap_or(&name)).map_err(ClientError::Host)?;
    Ok(Endpoint { url, host, name })
}

#[cfg(test)]
mod tests {
    use super::super::PATH;
    use super::*;

    fn host_of(base: &str, host: Option<&str>) -> (String, String) {
        let endpoint = endpoint(&base.parse().unwrap(), host).unwrap();
        (endpoint.at(PATH).to_string(), endpoint.host.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_host_has_its_port_unless_it_is_the_schemes_own() {
        for (base, host) in [
            ("https://ccfs.example.com", "ccfs.example.com"),
            ("https://ccfs.example.com:443/", "ccfs.example.com"),
            ("https://ccfs.example.com:28443", "ccfs.example.com:28443"),
            ("http://ccfs.example.com:443", "ccfs.example.com:443"),
            ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
            ("https://10.154.198.164", "10.154.198.164"),
        ] {
            assert_eq!(host_of(base, None).1, host);
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused_without_being_quoted() {
        for base in ["ftp://ccfs.example.com", "https://u:secret@ccfs.example.com", "data:secret"] {
            let error = endpoint(&base.parse().unwrap(), None).unwrap_err().to_string();
            assert!(error.starts_with("ccfs.endpoints: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_configured_host_stands_in_and_the_address_stays() {
        let (url, host) = host_of("https://10.0.0.1:28443", Some("ccfs.example.com"));
        assert_eq!(url, format!("https://10.0.0.1:28443{PATH}"));
        assert_eq!(host, "ccfs.example.com");
    }
}
