//! What a worker takes from its configuration once, as it starts: all but the tenants, with what they
//! merge from `[ccfs]` and `[store]`.

use super::{Broker, Config, Http, Log, Retry, Worker};

/// The names of the fields that differ. Every field is named: one that is added has to be, too.
macro_rules! differing {
    ($ours:expr, $theirs:expr, $section:ident { $($field:ident: $key:literal),+ $(,)? }) => {{
        let $section { $($field),+ } = $ours;
        let fields = [$(($key, *$field != $theirs.$field)),+];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
    }};
}

impl Config {
    /// The keys whose values differ from those of `other` and cannot change while the worker runs. Of
    /// secrets nothing is told but the key.
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { broker, worker, retry, http, log, tenants_dir: _, tenants: _ } = self;
        let broker = differing!(
            broker,
            other.broker,
            Broker {
                urls: "broker.url",
                allow_plain: "broker.allow_plain",
                ca_file: "broker.ca_file",
                client_cert_file: "broker.client_cert_file",
                client_key_file: "broker.client_key_file",
                queue_prefix: "broker.queue_prefix",
                calls_exchange: "broker.calls_exchange",
                events_exchange: "broker.events_exchange",
                declare: "broker.declare",
                delivery_limit: "broker.delivery_limit",
                heartbeat: "broker.heartbeat",
                events_mandatory: "broker.events_mandatory",
            }
        );
        let worker = differing!(
            worker,
            other.worker,
            Worker {
                concurrency: "worker.concurrency",
                bulk_share: "worker.bulk_share",
                tenant_share: "worker.tenant_share",
                memory: "worker.memory",
                job_deadline: "worker.job_deadline",
                drain_timeout: "worker.drain_timeout",
            }
        );
        let retry = differing!(
            retry,
            other.retry,
            Retry {
                delays: "retry.delays",
                max_attempts: "retry.max_attempts",
                max_age: "retry.max_age",
                not_ready_window: "retry.not_ready_window",
                breaker_failures: "retry.breaker_failures",
                breaker_window: "retry.breaker_window",
            }
        );
        let http = differing!(http, other.http, Http { listen: "http.listen" });
        let log = differing!(
            log,
            other.log,
            Log { format: "log.format", level: "log.level", identifiers: "log.identifiers" }
        );
        broker.chain(worker).chain(retry).chain(http).chain(log).collect()
    }
}
