//! The live page: a few files that are one answer, under a policy that lets nothing else in.
//!
//! It knows nothing of what it shows: its script asks `/api/status`.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = concat!(
        include_str!("page/tools.js"),
        include_str!("page/charts.js"),
        include_str!("page/page.js")
    );
    Page::of(include_str!("page/index.html"), include_str!("page/page.css"), script)
});

struct Page {
    html: String,
    policy: HeaderValue,
}

impl Page {
    /// Style and script stand in the page, so that it is whole with one answer; the policy names them
    /// by their hashes, so that nothing that comes in with the data is ever taken for one of them.
    /// Trusted types keep the script itself from making HTML of text.
    fn of(frame: &str, style: &str, script: &str) -> Self {
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            hash(style),
            hash(script)
        );
        Self {
            html: frame.replace("{{style}}", style).replace("{{script}}", script),
            policy: HeaderValue::try_from(policy).expect("hashes are ASCII"),
        }
    }
}

pub(super) fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

pub(super) async fn page() -> Response {
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, PAGE.policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, Html(PAGE.html.as_str())).into_response()
}
