//! What a worker sends without TLS to other machines: told at its start.

use secrecy::ExposeSecret;
use url::Url;

use crate::config::{Config, goes_plain, host_and_port};

/// A sentence for each server that nobody has said is meant to be asked so, once.
pub fn warnings(config: &Config) -> Vec<String> {
    let broker = config.broker.urls.iter().filter_map(|url| {
        let url = Url::parse(url.read().ok()?.expose_secret()).ok()?;
        Some((config.broker.allow_plain, "broker.url", "password and messages", url))
    });
    let others = config.tenants.iter().flat_map(|tenant| {
        let (ccfs, store) = (&tenant.ccfs, &tenant.store);
        let ccfs = ccfs.endpoints.iter().map(|url| (ccfs.allow_plain, "ccfs.endpoints", url));
        let store = store.endpoint.iter().map(|url| (store.allow_plain, "store.endpoint", url));
        ccfs.chain(store).map(|(allowed, key, url)| (allowed, key, "recordings", url.clone()))
    });
    let mut warnings = Vec::new();
    let all = broker.chain(others).filter(|(allowed, .., url)| !allowed && goes_plain(url));
    for (_, key, what, url) in all {
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
