//! The series by name: help, labels and buckets, and what of them stands at zero from the start.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::labels::{BreakerTarget, Codes, Reload, StoreOperation};
use super::{REVISION, VERSION};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;
const GIB: f64 = 1024.0 * MIB;

/// Up to `worker.job_deadline` and beyond, since it is configurable.
const JOB_SECONDS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0];
const STAGE_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];
/// From seconds of A-law to the default `ccfs.max_size`.
const SIZE_BYTES: &[f64] = &[
    16.0 * KIB,
    64.0 * KIB,
    256.0 * KIB,
    MIB,
    4.0 * MIB,
    16.0 * MIB,
    64.0 * MIB,
    256.0 * MIB,
    GIB,
    5.0 * GIB,
];

/// What is defined here; the ledger, and what is counted for each tenant, define their own.
pub(super) struct Definitions {
    pub job_duration: HistogramVec,
    pub stage_duration: HistogramVec,
    pub recording_size: Histogram,
    pub store_requests: IntCounterVec,
    pub buffer: IntGauge,
    pub buffer_limit: IntGauge,
    pub broker_connected: IntGauge,
    pub broker_reconnects: IntCounter,
    pub tenants: IntGauge,
    pub config_reloads: IntCounterVec,
    pub breaker_open: IntGaugeVec,
    pub queue_messages: IntGaugeVec,
    build_info: IntGaugeVec,
}

impl Definitions {
    pub(super) fn new(registry: &Registry) -> Self {
        let define = Define(registry);
        Self {
            job_duration: define.histograms(
                "job_duration_seconds",
                "From the delivery of a message to the end of its job.",
                JOB_SECONDS,
                &["outcome"],
            ),
            stage_duration: define.histograms(
                "stage_duration_seconds",
                "Time spent in a step of a job.",
                STAGE_SECONDS,
                &["stage", "result"],
            ),
            recording_size: define.histogram(
                "recording_size_bytes",
                "Sizes of archived recordings.",
                SIZE_BYTES,
            ),
            store_requests: define.counters(
                "store_requests_total",
                "Requests to the store by S3 error code, timeouts and failed connections.",
                &["operation", "result"],
            ),
            buffer: define.gauge("buffer_bytes", "Bytes of transfer buffers and of dumps in hand."),
            buffer_limit: define
                .gauge("buffer_limit_bytes", "Bytes of both that there may be (worker.memory)."),
            broker_connected: define
                .gauge("broker_connected", "1 while both connections to the broker stand."),
            broker_reconnects: define.counter(
                "broker_reconnects_total",
                "Times the connections to the broker were rebuilt after a loss.",
            ),
            tenants: define.gauge("tenants", "Tenants that are configured."),
            config_reloads: define.counters(
                "config_reloads_total",
                "Times the configuration was read again; error: the one before it stays in force.",
                &["result"],
            ),
            breaker_open: define.gauges(
                "breaker_open",
                "1 while the circuit breaker of a server is open and its messages are parked.",
                &["target"],
            ),
            queue_messages: define.gauges(
                "queue_messages",
                "Messages ready in a queue of ours, as the broker tells it.",
                &["queue"],
            ),
            build_info: define.gauges(
                "build_info",
                "Always 1; the version and the git revision of the program.",
                &["version", "revision"],
            ),
        }
    }

    /// Creates the series that can be known, so that the first event is an increase.
    pub(super) fn at_zero(&self, codes: &Codes) {
        self.build_info.with_label_values(&[VERSION, REVISION]).set(1);
        self.breaker_open.with_label_values(&[&BreakerTarget::Events.to_string()]);
        for result in Reload::ALL {
            self.config_reloads.with_label_values(&[result.as_str()]);
        }
        for operation in StoreOperation::ALL {
            for result in codes.results() {
                self.store_requests.with_label_values(&[operation.as_str(), result]);
            }
        }
    }
}

/// Makes a series and registers it.
struct Define<'a>(&'a Registry);

const VALID: &str = "the names, labels and buckets of this file are valid";

impl Define<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("callvault")
    }

    fn buckets(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
        HistogramOpts::from(Self::opts(name, help)).buckets(buckets.to_vec())
    }

    fn registered<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let series = made.expect(VALID);
        self.0.register(Box::new(series.clone())).expect("every series is named once");
        series
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(Self::opts(name, help)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(Self::opts(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(Self::opts(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(Self::opts(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.registered(Histogram::with_opts(Self::buckets(name, help, buckets)))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.registered(HistogramVec::new(Self::buckets(name, help, buckets), labels))
    }
}
