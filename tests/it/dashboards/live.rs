//! The panels and the rules in a real Prometheus that scrapes real workers under load.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{ALERTS, Panel, drawn, every_panel};
use crate::metrics::OF_AUDIT;
use crate::rules::{OF_A_SCRAPE, file, recorded, selected};
use crate::support::ccfs::{Recording, Reply, Sizes};
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::prometheus::{Exporter, Prometheus, Sample};
use crate::support::s3::{Fault, Op};
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// A breaker that opens at once.
const TOUCHY: &str = "delays = [\"100ms\", \"200ms\"]\nmax_attempts = 3\nbreaker_failures = 2\nbreaker_window = \"1ms\"";

/// What the load provokes; all others are silent, and not even pending.
const PROVOKED: [&str; 8] = [
    "CallvaultAuditFailed",
    "CallvaultAuditMissing",
    "CallvaultBreakerOpen",
    "CallvaultDeadLetters",
    "CallvaultDeadQueue",
    "CallvaultNothingArchived",
    "CallvaultRetriesPileUp",
    "CallvaultUnproven",
];

/// The rules, in a hurry: what begins stands at zero for a second, and what is looked at once a minute
/// is so once a second.
fn rules() -> [(&'static str, String); 2] {
    let hasty = |name: &'static str| {
        let text = file(&format!("deploy/prometheus/{name}"));
        (name, text.replace("offset 1m)", "offset 1s)").replace("interval: 1m", "interval: 1s"))
    };
    ["recording.yml", "alerts.yml"].map(hasty)
}

/// With all workers and tenants, and rates over this time.
pub fn query(expression: &str, rate: &str) -> String {
    let all = expression.replace("$instance", ".*").replace("$tenant", ".*");
    all.replace("$__rate_interval", rate)
}

/// What a picture shows, in seconds.
const SHOWN: u32 = 90;

/// Something to draw: a number at least.
fn is_data(samples: &[Sample]) -> bool {
    samples.iter().any(|sample| sample.value != "NaN")
}

impl World {
    /// A bit of everything.
    async fn load(&self, serial: u32) {
        self.store.fault(Op::Put, 1, Fault::Answer { status: 400, code: "InvalidArgument" });
        let ended = callvault::clock::now() - jiff::SignedDuration::from_secs(90);
        for (what, replies) in [
            ("archived", vec![Reply::wav(20_000)]),
            ("retried", vec![Reply::code("0399999"), Reply::wav(640)]),
            ("dead", vec![Reply::code("0300004")]),
            ("damaged", vec![Reply::recording(Recording::wav(900).sizes(Sizes::More(100)))]),
        ] {
            let id = format!("1777093663-{what}-{serial}");
            self.ccfs.script(&id, replies);
            let mut message = call(&id);
            message["callEnd"] = json!(ended.to_string());
            self.publish(&message).await;
        }
        // Of last April: the window has closed. A few, since ten are more than usual.
        if serial < 5 {
            let absent = format!("1777093663-absent-{serial}");
            self.ccfs.script(&absent, [Reply::not_found()]);
            self.call(&absent).await;
        }
        let mut elsewhere = call(&format!("1777093663-down-{serial}"));
        elsewhere["tenant"] = json!("globex");
        elsewhere["callEnd"] = json!(ended.to_string());
        self.publish(&elsewhere).await;
        self.publish(&json!({
            "type": "recording.dump-requested", "tenant": "acme", "requestId": format!("r-{serial}"),
            "recordings": [{ "callId": format!("1777093663-one-{serial}") },
                           { "callId": format!("1777093663-two-{serial}") }]
        }))
        .await;
    }

    /// An hour of a call centre, in a hurry: waves of calls of two tenants, the CC-FS of one of which is
    /// back after a third of it.
    async fn show(&self, link: &mut Link) {
        for tick in 0..4 * SHOWN {
            if tick == 4 * SHOWN / 3 {
                link.restore().await;
            }
            for call_of_wave in 0..2 + tick / 30 % 6 {
                let id = format!("1777093663-{tick}-{call_of_wave}");
                let wav = Reply::wav(100_000 + u64::from(call_of_wave) * 90_000);
                let late = (tick + call_of_wave) % 5 == 0;
                let replies = if late { vec![Reply::not_found(), wav] } else { vec![wav] };
                self.ccfs.script(&id, replies);
                let mut message = call(&id);
                let ago = jiff::SignedDuration::from_secs((20 + tick + 30 * call_of_wave).into());
                message["callEnd"] = json!((callvault::clock::now() - ago).to_string());
                if call_of_wave % 3 == 1 {
                    message["tenant"] = json!("globex");
                }
                self.publish(&message).await;
            }
            if tick % 40 == 0 {
                self.load(1000 + tick).await;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[tokio::test]
async fn every_panel_has_data_of_real_workers_and_only_what_is_wrong_alerts() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::wav(4096));
    // Nobody answers where globex is sent.
    let mut link = Link::to(world.ccfs.address()).await;
    link.close().await;
    let away = format!("[tenants.ccfs]\nendpoints = [\"http://{}\"]", link.address());
    let keys = [("retry", TOUCHY), ("globex", away.as_str())];
    let first = world.worker(&keys).await;
    world.load(0).await;
    eventually("messages are dead", SOON, || async {
        (world.depth("dead").await > 0).then_some(())
    })
    .await;
    // It asks at its start what waits in the queues, and then every 15 seconds.
    let second = world.worker(&keys).await;
    // The numbers of an audit that has just ended, as a node exporter hands them on.
    let (told, ended) = (OF_AUDIT, callvault::clock::now().as_second().to_string());
    let audit = Exporter::start(told.replace(" 1777093663\n", &format!(" {ended}\n"))).await;
    let ports = [first.port(), second.port(), audit.port()];
    let prometheus = Prometheus::start(&ports, &rules()).await;

    let panels = every_panel();
    let asked = |panel: &Panel| {
        let name = panel.name.clone();
        panel.expressions().map(|text| (name.clone(), query(text, "1m"))).collect::<Vec<_>>()
    };
    let mut lacking: Vec<_> = panels.iter().flat_map(asked).collect();
    assert!(lacking.len() > 60, "{}", lacking.len());
    let deadline = tokio::time::Instant::now() + SOON;
    for serial in 1.. {
        world.load(serial).await;
        let mut left = Vec::new();
        for (name, query) in lacking {
            if !is_data(&prometheus.query(&query).await) {
                left.push((name, query));
            }
        }
        lacking = left;
        if lacking.is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no data: {lacking:#?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }

    // A scrape that the machine was too busy for looks like a worker that is down, until the next.
    let provoked = BTreeSet::from(PROVOKED.map(str::to_owned));
    let mut alerts = prometheus.alerts().await;
    while alerts != provoked && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(250)).await;
        alerts = prometheus.alerts().await;
    }
    assert_eq!(alerts, provoked);
    let (failing, rules) = prometheus.failing_rules().await;
    assert!(failing.is_empty() && rules > 25, "{rules} rules: {failing:#?}");
    names_of_panels_are_on_the_workers_page(&panels, &first).await;
    if std::env::var_os("DRAW").is_some() {
        world.show(&mut link).await;
        let names = [
            (world.prefix.clone(), "callvault"),
            (format!("127.0.0.1:{}", first.port()), "worker-1:9464"),
            (format!("127.0.0.1:{}", second.port()), "worker-2:9464"),
            (world.ccfs.url(), "https://ccfs.example.com:28443"),
            (format!("http://{}", link.address()), "https://ccfs.globex.example:28443"),
            (
                format!("{}/{}", world.store.s3().endpoint(), world.bucket),
                "eu-central-1/recordings",
            ),
        ];
        drawn::draw(&prometheus, SHOWN, &names).await;
    }
    for worker in [first, second] {
        worker.stop().await;
    }
}

async fn names_of_panels_are_on_the_workers_page(panels: &[Panel], worker: &Worker) {
    let (_, text) = worker.get("/metrics").await;
    let shown: BTreeSet<_> =
        text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let recorded = recorded();
    let names = panels.iter().flat_map(Panel::expressions).flat_map(selected);
    let made = |name: &String| {
        recorded.contains(name)
            || OF_A_SCRAPE.contains(&name.as_str())
            || name == ALERTS
            || name.starts_with("callvault_audit_")
    };
    for name in names.filter(|name| !made(name) && !name.starts_with('$')) {
        assert!(shown.contains(name.as_str()), "the worker does not show {name}");
    }
}
