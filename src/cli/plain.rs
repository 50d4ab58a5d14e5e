//! What a worker sends without TLS to other machines: told at its start.

use secrecy::ExposeSecret;
use url::Url;

use crate::config::{Config, goes_plain, host_and_port};

/// A sentence for each server, once.
pub fn warnings(config: &Config) -> Vec<String> {
    let urls = config.broker.urls.iter().filter(|_| !config.broker.allow_plain);
    let broker = urls.filter_map(|url| {
        let url = url.read().ok()?;
        Some(("broker.url", "password and messages", Url::parse(url.expose_secret()).ok()?))
    });
    let others = config.tenants.iter().flat_map(|tenant| {
        let (ccfs, store) = (&tenant.ccfs, &tenant.store);
        let endpoints = ccfs.endpoints.iter().filter(|_| !ccfs.allow_plain);
        let endpoint = store.endpoint.iter().filter(|_| !store.allow_plain);
        let ccfs = endpoints.map(|url| ("ccfs.endpoints", url.clone()));
        let store = endpoint.map(|url| ("store.endpoint", url.clone()));
        ccfs.chain(store).map(|(key, url)| (key, "recordings", url))
    });
    let mut warnings = Vec::new();
    for (key, what, url) in broker.chain(others).filter(|(.., url)| goes_plain(url)) {
        let (place, scheme) = (host_and_port(&url), url.scheme());
        let warning = format!(
            "{key}: {place} is asked without TLS: {what} can be read on their way; write {scheme}s://, \
             or allow_plain = true beside it where that is meant"
        );
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}
