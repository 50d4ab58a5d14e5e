//! What a trace tells of a request to CC-FS, by OpenTelemetry's conventions for HTTP. The trace itself
//! is not sent to CC-FS: it is another's, and its headers are signed.

use reqwest::{Error, Response};
use url::Url;

use super::download::root_cause;
use crate::failure::Failure;
use crate::traces::{Kind, Span};

/// From the connection to the head of the answer.
pub(super) fn asking(url: &Url) -> Span {
    let span = Span::child(Kind::Client, || format!("POST {}", url.path()).into());
    span.tell(|record| {
        record.set("http.request.method", "POST").set("url.full", url.to_string());
        record.set("server.address", url.host_str().unwrap_or_default().to_owned());
        if let Some(port) = url.port_or_known_default() {
            record.set("server.port", port);
        }
    });
    span
}

/// Ends it as the request ended.
pub(super) fn answered(span: &Span, sent: &Result<Result<Response, Error>, Failure>) {
    span.tell(|record| match sent {
        Ok(Ok(response)) => {
            let status = response.status();
            record.set("http.response.status_code", status.as_u16());
            if !status.is_success() {
                let status = status.as_u16().to_string();
                record.fail(status.clone(), format!("CC-FS answered HTTP {status}"));
            }
        }
        Ok(Err(error)) => record.fail("unreachable", root_cause(error).to_string()),
        Err(failure) => {
            record.fail(failure.reason.as_str().to_owned(), failure.detail.as_str());
        }
    });
    span.close();
}
