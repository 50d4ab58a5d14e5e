//! What this machine has too little of is nobody's answer: what waits for it counts no attempt, and
//! no breaker learns from it (contract 5).

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::link::Link;
use crate::support::usage::descriptors;
use crate::support::worker::{Worker, binary};
use crate::support::world::{SOON, World};

/// Allows a worker descriptors below this number, whatever it has open.
fn allow(worker: &Worker, descriptors: Option<u64>) {
    let pid = i32::try_from(worker.pid()).ok().and_then(Pid::from_raw);
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: descriptors.or(hard), maximum: hard };
    prlimit(pid, Resource::Nofile, limit).expect("a limit may change below the hard one");
}

/// The tries that ended so, for this cause.
fn lacking(log: &str, cause: &str) -> usize {
    let ended = log.lines().filter(|line| line.contains("\"reason\":\"job.no_resources\""));
    ended.filter(|line| line.contains(cause)).count()
}

#[tokio::test]
async fn what_this_machine_lacks_is_nobodys_fault() {
    let world = World::new().await;
    // Each try is the only one, and two requests without an answer open a breaker.
    let retry = "delays = [\"100ms\"]\nmax_attempts = 1\nbreaker_failures = 1\n\
                 breaker_window = \"1ms\"";
    // A tenant begins with an eighth of its share: twelve at once.
    let keys = [("retry", retry), ("worker", "concurrency = 128")];
    let link = Link::to(world.store.s3().address()).await;
    // Where names have to be looked up, that takes a descriptor, too.
    let named = |address: SocketAddr| format!("http://localhost:{}", address.port());
    let (ccfs, s3) = (named(world.ccfs.address()), named(link.address()));
    let worker = Worker::start(&world.config_at(&world.amqp, &ccfs, &s3, &keys)).ready().await;

    // What it has opened it keeps, and the lowest three have been taken from its beginning.
    allow(&worker, Some(3));
    link.cut_once();
    let ids: Vec<String> = (0..40).map(|n| format!("1777093663-{n}")).collect();
    for id in &ids {
        world.call(id).await;
    }
    // A first try asks CC-FS, another the store before.
    let waiting = || async {
        let parked = lacking(&worker.log(), "error sending request");
        let again = lacking(&worker.log(), "dispatch failure");
        (parked >= ids.len() && again >= ids.len()).then_some(())
    };
    eventually("each waits for a descriptor, and again", SOON, waiting).await;
    // More jobs than it has connections for, still.
    allow(&worker, Some(descriptors(worker.pid()) + 20));
    let (status, ready) = worker.get("/readyz").await;
    assert!(status == 200 && ready.contains("no file descriptor left"), "{ready}");

    for event in world.events(ids.len()).await {
        assert_eq!(event["type"], "recording.archived", "{event:#}");
        assert_eq!(event["data"]["attempts"], 1, "none counted");
    }
    allow(&worker, None);
    world.settled(&worker).await;
    for reason in ["\"ccfs.unreachable\"", "\"store.unreachable\"", "\"other\""] {
        assert_eq!(worker.metric("callvault_retries_total", &[reason]).await, 0.0, "{reason}");
    }
    for code in ["code=\"unreachable\"", "code=\"other\""] {
        assert_eq!(worker.metric("callvault_ccfs_responses_total", &[code]).await, 0.0, "{code}");
    }
    let log = worker.stop().await;
    assert!(!log.contains("breaker open"), "{log}");
    assert!(log.contains("LimitNOFILE"), "{log}");
}

#[tokio::test]
async fn a_probe_that_cannot_be_sent_finds_nothing_out() {
    let world = World::new().await;
    let retry = "delays = [\"100ms\"]\nbreaker_failures = 1\nbreaker_window = \"1ms\"";
    let mut link = Link::to(world.store.s3().address()).await;
    let s3 = format!("http://{}", link.address());
    let config = world.config_at(&world.amqp, &world.ccfs.url(), &s3, &[("retry", retry)]);
    let worker = Worker::start(&config).ready().await;
    link.close().await;
    world.call("1777093663-1").await;
    let logged = |text: &'static str, least: usize| {
        let log = worker.log();
        async move { (log.matches(text).count() >= least).then_some(()) }
    };
    eventually("the store is down", SOON, || logged("breaker open", 1)).await;
    allow(&worker, Some(3));
    link.restore().await;
    eventually("probes are due", SOON, || logged("cannot be probed", 2)).await;
    assert!(!worker.log().contains("breaker closed"), "{}", worker.log());

    allow(&worker, None);
    assert_eq!(world.event().await.json()["type"], "recording.archived");
    worker.stop().await;
}

/// A worker under these limits of open files. It finds no broker, and need not.
fn limited(folder: &Path, limits: &str) -> GuardedChild {
    let config = "[broker]\nurl = \"amqp://127.0.0.1:1\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
                  [ccfs]\nendpoints = [\"http://127.0.0.1:1\"]\n\
                  [store]\nendpoint = \"http://127.0.0.1:1\"\nbucket = \"b\"\n\
                  access_key_id = \"id\"\nsecret_access_key = \"secret\"\n\
                  [[tenants]]\nid = \"acme\"\naccess_key = \"AK\"\nsecret_key = \"SK\"\n";
    fs::write(folder.join("callvault.toml"), config).expect("it can be written");
    let log = File::create(folder.join("log")).expect("it can be written");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec \"$0\" run --config callvault.toml")]);
    let both = log.try_clone().expect("a descriptor");
    command.arg(binary()).current_dir(folder).stdout(log).stderr(both);
    GuardedChild::spawn(&mut command).expect("it starts")
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let worker = limited(folder.path(), "ulimit -Sn 64");
    let file = format!("/proc/{}/limits", worker.pid());
    let raised = || async {
        let limits = fs::read_to_string(&file).expect("it runs");
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let mut limit = limit.split_whitespace();
        (limit.next() == limit.next()).then_some(())
    };
    eventually("the limit is the hard one", SOON, raised).await;
}

#[tokio::test]
async fn a_limit_of_open_files_that_is_too_low_is_told_at_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let _worker = limited(folder.path(), "ulimit -n 200");
    let told = || async {
        let log = fs::read_to_string(folder.path().join("log")).expect("it has one");
        let told = log.lines().any(|line| line.contains("too few for worker.concurrency = 64"));
        told.then_some(())
    };
    eventually("228 are wanted for 64 jobs at once", SOON, told).await;
}

#[tokio::test]
async fn no_memory_is_left_in_a_core() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.pid())).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().skip(4).take(2).collect();
    // With 0 the kernel still hands one to a program, such as systemd's.
    assert_eq!(core, ["1", "1"]);
    worker.stop().await;
}
