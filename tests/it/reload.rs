//! SIGHUP: tenants come, change and go, and pause, without a delivery being dropped (contract 6).

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::ccfs::Reply;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, access_key, call, secret_key};

const RELOADS: &str = "callvault_config_reloads_total";

/// A worker with the two tenants of every world, and a folder for more.
struct Fleet {
    world: World,
    worker: Worker,
    folder: TempDir,
    reloads: f64,
}

impl Fleet {
    async fn start(keys: &[(&str, &str)]) -> Self {
        let world = World::new().await;
        world.ccfs.account(&access_key("initech"), &secret_key("initech"));
        let folder = tempfile::tempdir().expect("a folder for tenants");
        let worker = Worker::start(&Self::config(&world, &folder, keys)).ready().await;
        Self { world, worker, folder, reloads: 0.0 }
    }

    fn config(world: &World, folder: &TempDir, keys: &[(&str, &str)]) -> String {
        format!("tenants_dir = \"{}\"\n{}", folder.path().display(), world.config(keys))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("initech.toml")
    }

    /// Writes the file of a third tenant.
    fn write(&self, more: &str) {
        let (access, secret) = (access_key("initech"), secret_key("initech"));
        let text = format!(
            "id = \"initech\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n{more}"
        );
        std::fs::write(self.file(), text).expect("the folder can be written");
    }

    fn remove(&self) {
        std::fs::remove_file(self.file()).expect("it is there");
    }

    /// Tells the worker to read its configuration again, and waits until it has.
    async fn hang_up(&mut self, result: &str) {
        self.reloads += 1.0;
        self.worker.signal("HUP");
        let labels = [format!("result=\"{result}\"")];
        let labels = labels.each_ref().map(String::as_str);
        eventually("the configuration was read again", SOON, || async {
            (self.worker.metric(RELOADS, &[]).await == self.reloads).then_some(())
        })
        .await;
        assert!(self.worker.metric(RELOADS, &labels).await > 0.0, "{}", self.worker.log());
    }

    async fn call(&self, call_id: &str) {
        let mut message = call(call_id);
        message["tenant"] = json!("initech");
        self.world.publish(&message).await;
    }
}

#[tokio::test]
async fn a_tenant_comes_and_goes_and_its_job_under_way_ends_with_what_it_began_with() {
    let mut fleet = Fleet::start(&[]).await;
    fleet.call("1777093663-before").await;
    let dead = fleet.world.take("dead").await;
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("tenant.unknown"));
    assert_eq!(fleet.world.event().await.json()["type"], "recording.failed");
    assert_eq!(fleet.worker.metric("callvault_tenants", &[]).await, 2.0);

    fleet.write("");
    fleet.hang_up("ok").await;
    let (open, gate) = watch::channel(false);
    fleet.world.ccfs.script("1777093663-held", [Reply::wav(64 << 10).midway(gate)]);
    fleet.call("1777093663-held").await;
    fleet.call("1777093663-now").await;
    let event = fleet.world.event().await.json();
    assert_eq!(event["subject"], "initech/1777093663-now");
    assert_eq!(event["type"], "recording.archived");
    assert_eq!(fleet.worker.metric("callvault_tenants", &[]).await, 3.0);

    fleet.remove();
    fleet.hang_up("ok").await;
    fleet.call("1777093663-after").await;
    let dead = fleet.world.take("dead").await;
    assert_eq!(dead.header("callvault-reason").as_deref(), Some("tenant.unknown"));
    assert_eq!(fleet.world.event().await.json()["type"], "recording.failed");
    // What is in flight is in the sum, though its tenant is no more.
    let in_flight = ["tenant=\"initech\""];
    assert_eq!(fleet.worker.metric("callvault_jobs_in_flight", &in_flight).await, 1.0);
    open.send(true).expect("the simulator waits for it");
    let event = fleet.world.event().await.json();
    assert_eq!(event["subject"], "initech/1777093663-held");
    assert_eq!(event["type"], "recording.archived");
    fleet.world.settled(&fleet.worker).await;
    let (_, scrape) = fleet.worker.get("/metrics").await;
    assert!(!scrape.contains("initech"), "nothing is shown of who has gone:\n{scrape}");
    fleet.worker.stop().await;
}

#[tokio::test]
async fn a_mistake_leaves_the_old_in_force_and_what_cannot_change_is_named() {
    let mut fleet = Fleet::start(&[]).await;
    fleet.write("max_concurency = 3\n");
    fleet.hang_up("error").await;
    let log = fleet.worker.log();
    assert!(log.contains("did you mean"), "every mistake is told: {log}");
    assert!(log.contains("initech.toml:4"), "and where it is: {log}");
    fleet.world.call("1777093663-old").await;
    assert_eq!(fleet.world.event().await.json()["type"], "recording.archived");

    // A part that only the attempt to use it shows.
    fleet.write("[store]\nkey = \"{tenant}/{nonsense}\"\n");
    fleet.hang_up("error").await;

    fleet.write("max_concurrency = 3\n");
    let changed = [("worker", "concurrency = 8"), ("globex", "max_concurrency = 2")];
    let config = Fleet::config(&fleet.world, &fleet.folder, &changed);
    fleet.worker.write_config(&config);
    fleet.hang_up("ok").await;
    let log = fleet.worker.log();
    assert!(log.contains("worker.concurrency"), "it wants a new start: {log}");
    for (tenant, limit) in [("globex", 2.0), ("initech", 3.0)] {
        let labels = [format!("tenant=\"{tenant}\"")];
        let labels = labels.each_ref().map(String::as_str);
        let shown = fleet.worker.metric("callvault_tenant_concurrency_limit", &labels).await;
        assert_eq!(shown, limit, "{tenant}");
    }
    fleet.worker.stop().await;
}

#[tokio::test]
async fn a_paused_tenant_is_parked_until_it_is_taken_off_and_others_go_on() {
    let mut fleet = Fleet::start(&[("retry", "delays = [\"300ms\"]\nmax_age = \"1s\"")]).await;
    fleet.write("paused = true\n");
    fleet.hang_up("ok").await;
    fleet.call("1777093663-1").await;
    // Longer than the oldest message may be.
    let reason = ["tenant=\"initech\"", "reason=\"job.no_place\""];
    fleet.worker.metric_reaches("callvault_retries_total", &reason, 6.0).await;
    assert_eq!(fleet.world.ccfs.requests().len(), 0, "nobody is asked for it");
    fleet.world.call("1777093663-other").await;
    assert_eq!(fleet.world.event().await.json()["subject"], "acme/1777093663-other");

    fleet.write("");
    fleet.hang_up("ok").await;
    let event = fleet.world.event().await.json();
    assert_eq!(event["subject"], "initech/1777093663-1");
    assert_eq!(event["type"], "recording.archived");
    assert_eq!(event["data"]["attempts"], 1, "no try was counted");
    fleet.worker.stop().await;
}

/// Everything would be dead as of an unknown tenant, whose file is perhaps on its way.
#[tokio::test]
async fn without_any_tenant_nothing_is_consumed() {
    let world = World::new().await;
    let folder = tempfile::tempdir().expect("a folder for tenants");
    let config = Fleet::config(&world, &folder, &[]);
    let (alone, _) = config.split_once("[[tenants]]").expect("the world's own come last");
    let worker = Worker::start(alone);
    let why = || async {
        let (status, body) = worker.get("/readyz").await;
        (status == 503 && body.contains("no tenant")).then_some(())
    };
    eventually("it says why it does not consume", SOON, why).await;
    let jobs = world.queue("jobs");
    let made = || async { world.rabbit.exists(&jobs).await.then_some(()) };
    eventually("it has made its queues", SOON, made).await;
    world.rabbit.send(&jobs, call("1777093663-1").to_string()).await;
    world.rabbit.until_ready(&jobs, 1).await;

    let (access, secret) = (access_key("acme"), secret_key("acme"));
    let text = format!("id = \"acme\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n");
    std::fs::write(folder.path().join("acme.toml"), text).expect("the folder can be written");
    worker.signal("HUP");
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;
}
