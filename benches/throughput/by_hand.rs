//! The same recordings by a worker that is written by hand in Python (`by_hand.py`), for comparison.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::case::{Case, TENANT};
use crate::floor::Took;
use crate::stage::{Names, Stage};
use crate::support::broker::client::{table, text};
use crate::support::child::GuardedChild;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::world::{access_key, secret_key};
use crate::support::{eventually, kit_dir, unique, usage};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/by_hand.py");

/// What it wants of PyPI.
const LIBRARIES: [&str; 3] = ["boto3", "pika", "requests"];

const START: Duration = Duration::from_secs(60);

/// Of the measured recordings of a case.
pub async fn run(stage: &Stage, case: &Case) -> Took {
    let python = tokio::task::spawn_blocking(python).await.expect("it does not panic");
    let names = Names::new(&stage.rabbit).await;
    let queue = unique("bench-by-hand");
    stage.rabbit.declare(&queue, table([("x-queue-type", text("quorum"))])).await;
    stage.rabbit.bind(&queue, &names.calls, "#").await;
    let (ccfs_ca, s3_ca) = stage.ca_files().unwrap_or_default();
    let work = json!({
        "amqp": stage.amqp(), "queue": queue, "events_exchange": names.events_exchange,
        "ccfs": format!("{}{}", stage.ccfs.url(), callvault::ccfs::PATH), "ccfs_ca": ccfs_ca,
        "access_key": access_key(TENANT), "secret_key": secret_key(TENANT),
        "s3": stage.sink.endpoint(), "s3_ca": s3_ca,
        "s3_access_key": ACCESS_KEY, "s3_secret_key": SECRET_KEY, "at_once": case.at_once,
    });
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(work.to_string()).stdout(Stdio::null());
    let mut worker = GuardedChild::spawn(&mut command).expect("python can be started");
    eventually("the worker in Python consumes", START, async || {
        (stage.rabbit.consumers(&queue).await > 0).then_some(())
    })
    .await;
    let mut events = stage.consumer(&names.events).await;
    stage.archive(&names, &mut events, case, 0..case.warm_up).await;
    let (pid, started) = (worker.pid(), Instant::now());
    let before = usage::cpu_seconds(pid);
    stage.archive(&names, &mut events, case, case.warm_up..case.warm_up + case.count).await;
    let took = Took {
        wall: started.elapsed(),
        cpu_seconds: usage::cpu_seconds(pid) - before,
        peak_rss: usage::peak_rss(pid),
        ..Took::default()
    };
    worker.kill();
    stage.sink.take();
    took
}

/// An interpreter that has them, in an environment of the kit's own.
fn python() -> PathBuf {
    let folder = kit_dir().join("python");
    let python = folder.join("bin/python");
    if !folder.join("whole").exists() {
        eprintln!("{} are fetched for Python, once", LIBRARIES.join(", "));
        let mut venv = Command::new("python3");
        run_well(venv.args(["-m", "venv", "--clear"]).arg(&folder));
        run_well(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(LIBRARIES));
        fs::write(folder.join("whole"), "").expect("target/kit can be written");
    }
    python
}

fn run_well(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}
