//! The live page of a worker with a thousand tenants, in Chromium: how soon it is there, and what it
//! costs to keep it true.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::{Calls, Events, accounts, median, worker};
use crate::limit::Limit;
use crate::support::browser::{Browser, Tab};
use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::s3::sink::Sink;
use crate::support::world::World;

const TENANTS: usize = 1000;

/// Of each tenant some are archived before anybody looks.
const RECORDINGS: usize = 3000;

/// While it is looked at so many come a second, of one tenant after the other.
const PACE: Duration = Duration::from_millis(10);

const ROUNDS: usize = 5;
const UPDATES: usize = 10;
const SOON: Duration = Duration::from_secs(60);

/// Notes the frame in which the tenants stand on the page.
const WATCH: &str = "new MutationObserver((_, watch) => {
    if (!document.querySelector('#tenants tbody tr')) return;
    watch.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => { window.there = performance.now(); }));
}).observe(document, { childList: true, subtree: true })";

/// The median of some openings; the mean of some updates, as it comes and with every tenant shown.
pub async fn measure() -> Vec<Limit> {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10));
    let sink = Sink::start(false).await;
    let worker = worker(&world, &sink, &[], &accounts(&world, TENANTS)).await;
    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    let name = |n| (format!("t{}", n % TENANTS), format!("1777093663-{n}"));
    tokio::join!(calls.publish_all(0..RECORDINGS, name), events.skip(RECORDINGS));

    let size = worker.get("/api/status").await.1.len() as f64 / 1e3;
    let browser = Browser::start().await;
    let tab = browser.tab().await;
    tab.size(1280, 900, 1).await;
    // Times of the processor, not of a clock: others are at work on this machine.
    tab.ask("Performance.enable", json!({ "timeDomain": "threadTicks" })).await;
    tab.ask("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH })).await;
    let url = format!("http://127.0.0.1:{}/", worker.port());
    let (mut first, mut there) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tab.open(&url).await;
        let moment = tab.until("the tenants are there", SOON, "window.there").await;
        there.push(number(&moment));
        let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
        first.push(number(&tab.until("it is painted", SOON, paint).await));
    }
    let load = async {
        let mut pace = tokio::time::interval(PACE);
        for n in RECORDINGS.. {
            pace.tick().await;
            let (tenant, call) = name(n);
            calls.publish(&tenant, &call).await;
        }
    };
    let watched = async {
        let few = update(&tab).await;
        tab.eval("document.querySelector('#tenants-all').click()").await;
        (few, update(&tab).await)
    };
    let (few, all) = tokio::select! {
        () = load => unreachable!("calls come for ever"),
        costs = watched => costs,
    };
    worker.stop().await;
    let at_most = |what: &str, bound, measured, unit| {
        Limit::at_most(format!("page of {TENANTS} tenants: {what}"), bound, measured, unit)
    };
    vec![
        at_most("/api/status", 300.0, size, " kB"),
        at_most("first paint", 300.0, median(first), " ms"),
        at_most("the tenants are there", 300.0, median(there), " ms"),
        at_most("an update", 50.0, few, " ms"),
        at_most("an update with all of them shown", 50.0, all, " ms"),
    ]
}

/// What the browser's main thread is busy with an update: from the question to the picture.
async fn update(tab: &Tab) -> f64 {
    let answers = || tab.heard("Network.loadingFinished").len();
    let (busy, before) = (busy(tab).await, answers());
    eventually("some updates", SOON, async || (answers() >= before + UPDATES).then_some(())).await;
    let (now, after) = (self::busy(tab).await, answers());
    (now - busy) * 1e3 / (after - before) as f64
}

/// Seconds.
async fn busy(tab: &Tab) -> f64 {
    let told = tab.ask("Performance.getMetrics", json!({})).await;
    let mut all = told["metrics"].as_array().expect("metrics").iter();
    number(&all.find(|metric| metric["name"] == "TaskDuration").expect("it is told")["value"])
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
