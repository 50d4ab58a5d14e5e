//! The live page (contract 7) in a real browser, beside a worker that works and servers that fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::support::broker::node;
use crate::support::browser::{Browser, Tab};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, call};

/// The page asks once a second ([`pace`]): so many questions are the five seconds in which it shows
/// what has happened, on a machine of any speed.
const FIVE_SECONDS: usize = 5;

const RETRY: &str = "delays = [\"200ms\"]\nmax_attempts = 1000\nbreaker_failures = 2\n\
                     breaker_window = \"1ms\"";

/// A call whose recording comes so slowly that it is seen on its way.
const SLOW: &str = "1777093663-slow";

/// A call whose name is HTML.
const HOSTILE: &str = "<b>1777093663</b>";

/// All that the page has to do with, each behind a link.
struct Scene {
    world: World,
    broker: Link,
    ccfs: Link,
    store: Link,
    worker: Worker,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let broker = Link::to(([127, 0, 0, 1], node().await.amqp_port()).into()).await;
        let ccfs = Link::to(world.ccfs.address()).await;
        let store = Link::to(world.store.s3().address()).await;
        let config = world.config_at(
            &format!("amqp://guest:guest@{}/%2f", broker.address()),
            &format!("http://{}", ccfs.address()),
            &format!("http://{}", store.address()),
            &[("retry", RETRY)],
        );
        let worker = Worker::start(&config).ready().await;
        Self { world, broker, ccfs, store, worker }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.worker.port())
    }

    /// What the page shows of `acme`, and the ledger, as `/metrics` has it.
    async fn counted(&self) -> BTreeMap<String, u64> {
        let (_, metrics) = self.worker.get("/metrics").await;
        let sum = |name: &str, labels: &[&str]| {
            crate::support::worker::sum_of(&metrics, &format!("callvault_{name}"), labels) as u64
        };
        let of_acme = |outcome: &str| {
            sum("jobs_total", &["tenant=\"acme\"", &format!("outcome=\"{outcome}\"")])
        };
        let counted = [
            ("archived", of_acme("archived")),
            ("alreadyArchived", of_acme("already_archived")),
            ("dead", of_acme("dead")),
            ("retried", of_acme("retried")),
            ("absent", of_acme("absent")),
            ("received", sum("messages_received_total", &[])),
            ("acknowledged", sum("messages_settled_total", &["how=\"acked\""])),
            ("givenBack", sum("messages_settled_total", &["how=\"given_back\""])),
            ("inFlight", sum("jobs_in_flight", &[])),
        ];
        counted.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// Waits until the page says what is counted, and returns it.
    async fn agreement(&self, tab: &Tab) -> BTreeMap<String, u64> {
        eventually("the page says what /metrics says", SOON, async || {
            let counted = self.counted().await;
            let shown = tab.eval(SHOWN).await;
            (serde_json::json!(counted) == shown).then_some(counted)
        })
        .await
    }
}

/// What stands on the page, by the names of [`Scene::counted`].
const SHOWN: &str = r"(() => {
    const number = text => Number(text.replace(/\D/g, ''));
    const row = [...document.querySelectorAll('#tenants tbody tr')].find(row => row.cells[0].textContent === 'acme');
    const cell = at => row ? number(row.cells[at].textContent) : 0;
    const ledger = (document.querySelector('#ledger').textContent.match(/[\d,]+/g) ?? []).map(number);
    return { dead: cell(2), retried: cell(3), absent: cell(4), archived: cell(5), alreadyArchived: cell(6),
        received: ledger[0], acknowledged: ledger[1], givenBack: ledger[2], inFlight: ledger[3] };
})()";

/// How the page has a server of this kind.
fn state_of(kind: &str) -> String {
    format!(
        "[...document.querySelectorAll('#servers tbody tr')]\
         .find(row => row.cells[0].innerText.startsWith('{kind}'))?.cells[1].innerText.trim()"
    )
}

/// Waits until the page shows it, and holds that it did so in time.
async fn shown_in_time(tab: &Tab, what: &str, expression: &str) {
    let before = tab.sent("/api/status").len();
    tab.until(what, SOON, expression).await;
    let asked = tab.sent("/api/status").len() - before;
    assert!(asked <= FIVE_SECONDS, "{what}: after {asked} questions");
}

/// The least that lies between two questions, in seconds.
fn pace(tab: &Tab) -> f64 {
    let asked = tab.sent("/api/status");
    let times: Vec<_> = asked.iter().filter_map(|sent| sent["timestamp"].as_f64()).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min)
}

/// The server goes and comes back: the page says so each time.
async fn outage(tab: &Tab, link: &mut Link, kind: &str, sentence: &str) {
    let (state, said) = (state_of(kind), "document.querySelector('#said').innerText");
    link.close().await;
    let down = format!("{state} === 'down' && /{sentence}/.test({said})");
    shown_in_time(tab, &format!("{kind} is down"), &down).await;
    assert!(tab.text("#servers").await.contains(&link.address().to_string()), "which {kind}");
    link.restore().await;
    let well = format!("{state} === 'well' && /All is well/.test({said})");
    shown_in_time(tab, &format!("{kind} is well again"), &well).await;
}

#[tokio::test]
async fn the_page_shows_what_is_and_finds_back_to_it() {
    let (mut scene, browser) = tokio::join!(Scene::new(), Browser::start());
    let tab = browser.tab().await;
    tab.size(1280, 900, 1).await;
    tab.open(&scene.url()).await;
    tab.until(
        "all is well",
        SOON,
        "/^Consuming since .* All is well\\.$/.test(document.querySelector('#said').innerText)",
    )
    .await;

    // Under load: rows move, and each outage shows and passes.
    let slow = Reply::wav(64 << 10).pieces(3 << 10, Duration::from_millis(100));
    scene.world.ccfs.script(SLOW, [slow]);
    scene.world.call(SLOW).await;
    let Scene { world, broker, ccfs, store, .. } = &mut scene;
    let load = async {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        for n in 0.. {
            pace.tick().await;
            world.call(&format!("1777093663-{n}")).await;
        }
    };
    let watched = async {
        let job = format!(
            "[...document.querySelectorAll('#jobs tbody tr')].find(row =>\
             row.cells[1].innerText === '{SLOW}' && row.cells[2].innerText === 'download')"
        );
        let job = format!("(window.job = {job}) && (window.before = job.cells[3].innerText)");
        tab.until("a job is on its way", SOON, &job).await;
        tab.until("it goes on", SOON, "job.cells[3].innerText !== before").await;
        tab.until("it ends", SOON, "!job.isConnected").await;
        outage(&tab, ccfs, "CC-FS", "^Consuming since .* but CC-FS .* is down since").await;
        outage(&tab, store, "store", "^Paused since .*: ").await;
        outage(&tab, broker, "broker", "^Not consuming since .*, connecting to the broker: ").await;
    };
    tokio::select! {
        () = load => (),
        () = watched => (),
    }

    // What CC-FS refuses for good, by a name that wants to be more than text.
    scene.world.ccfs.script(HOSTILE, [Reply::code("0300004")]);
    scene.world.publish(&call(HOSTILE)).await;
    let failure = tab
        .until(
            "the dead letter",
            SOON,
            "[...document.querySelectorAll('#failures tbody tr')]\
            .find(row => row.innerText.includes('ccfs.0300004'))?.innerText",
        )
        .await;
    let (failure, (_, status)) = (failure.as_str().unwrap(), scene.worker.get("/api/status").await);
    let status: Value = serde_json::from_str(&status).unwrap();
    let told = status["failures"].as_array().unwrap().iter().find(|told| told["call"] == HOSTILE);
    let told = told.expect("the failure");
    for field in ["tenant", "call", "outcome", "reason", "meaning", "advice"] {
        let text = told[field].as_str().unwrap();
        assert!(!text.is_empty() && failure.contains(text), "{field}: {told}\n{failure}");
    }
    assert_eq!(tab.eval("document.querySelectorAll('#failures .id *').length").await, 0);

    scene.world.settled(&scene.worker).await;
    let counted = scene.agreement(&tab).await;
    assert!(
        counted["archived"] > 0 && counted["retried"] > 0 && counted["dead"] == 1,
        "{counted:?}"
    );
    let filter = "(() => { const box = document.querySelector('#filter'); box.value = 'GLOB';\
        box.dispatchEvent(new Event('input')); return document.querySelector('#tenants tbody').textContent; })()";
    let filtered = tab.eval(filter).await;
    assert!(
        filtered.as_str().unwrap().contains("globex")
            && !filtered.as_str().unwrap().contains("acme")
    );
    tab.eval("document.querySelector('#filter').value = ''").await;
    accessible(&tab).await;
    assert_eq!(tab.complaints(), [""; 0]);
    assert!((0.5..1.5).contains(&pace(&tab)), "a question each {} s", pace(&tab));

    // The worker dies, and another takes its place.
    scene.worker.kill();
    let old = "/^No answer from the worker since/.test(document.querySelector('#said').innerText)\
               && / s old$/.test(document.querySelector('#as-of').innerText)";
    tab.until("nobody answers", SOON, old).await;
    scene.worker.restart();
    let fresh = "/All is well/.test(document.querySelector('#said').innerText)\
                 && /UTC$/.test(document.querySelector('#as-of').innerText)";
    tab.until("it is well again", SOON, fresh).await;
    scene.world.call("1777093663-again").await;
    scene.world.settled(&scene.worker).await;
    scene.worker.metric_reaches("callvault_jobs_total", &["outcome=\"archived\""], 1.0).await;
    assert_eq!(scene.agreement(&tab).await["archived"], 1);

    let requests = tab.heard("Network.requestWillBeSent");
    for request in requests {
        let url = request["request"]["url"].as_str().unwrap();
        assert!(url.starts_with(&scene.url()) || url == "data:,", "{url}");
    }
    scene.worker.stop().await;
}

/// On a desk and on a phone, in light and in dark, axe finds nothing serious.
async fn accessible(tab: &Tab) {
    tab.eval(include_str!("../fixtures/axe-core/axe.min.js")).await;
    let look = "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations\
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')\
        .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(node => `${node.html} ${node.failureSummary}`).join('; ')}`))";
    for (width, height) in [(1280, 900), (390, 844)] {
        tab.size(width, height, 1).await;
        for dark in [false, true] {
            tab.dark(dark).await;
            let found = tab.eval(look).await;
            assert_eq!(found.as_array().map(Vec::len), Some(0), "{width} {dark}: {found:#}");
        }
    }
    tab.size(1280, 900, 1).await;
}
