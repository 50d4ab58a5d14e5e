//! What a trace tells of a request to the store, by OpenTelemetry's conventions for AWS. Not the key,
//! which holds the names of the call: the job's own span has it as the log would.

use super::Store;
use super::error::{Refusal, verb};
use crate::config;
use crate::metrics::StoreOperation;
use crate::traces::{Kind, Span};

impl Store {
    pub(super) fn asking(&self, operation: StoreOperation) -> Span {
        let span = Span::child(Kind::Client, || format!("S3.{}", verb(operation)).into());
        span.tell(|record| {
            record.set("rpc.system", "aws-api").set("rpc.service", "S3");
            record.set("rpc.method", verb(operation));
            record.set("aws.s3.bucket", self.bucket().to_owned());
            let settings = &self.0.settings;
            record.set("cloud.region", settings.region.clone());
            if let Some(endpoint) = &settings.endpoint {
                record.set("server.address", config::host_and_port(endpoint));
            }
        });
        span
    }
}

/// Ends it as the store has answered.
pub(super) fn answered<T>(span: &Span, operation: StoreOperation, answer: &Result<T, Refusal>) {
    span.tell(|record| {
        let Err(refusal) = answer else { return };
        if let Some(status) = refusal.status() {
            record.set("http.response.status_code", status);
        }
        // To who asks whether something is there, both are answers like others.
        let nothing = operation == StoreOperation::Head && refusal.status() == Some(404);
        if !nothing && !refusal.exists() {
            record.fail(refusal.label(), refusal.to_string());
        }
    });
    span.close();
}
