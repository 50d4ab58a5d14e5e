//! More in flight than files may be open: what the machine lacks kills no message.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::flow::{Calls, Events};
use crate::limit::Limit;
use crate::support::ccfs::Reply;
use crate::support::s3::sink::Sink;
use crate::support::worker::{Options, Worker, binary};
use crate::support::world::World;

const RECORDINGS: usize = 2000;

/// All of them are in flight at once, if the machine lets them.
const KEYS: [(&str, &str); 2] =
    [("worker", "concurrency = 2048\ntenant_share = 1.0"), ("retry", "delays = [\"1s\", \"2s\"]")];

/// The limit is the hard one: the worker cannot help itself.
pub async fn measure() -> Vec<Limit> {
    let world = World::new().await;
    world.ccfs.remember(false);
    world.ccfs.default_reply(Reply::wav(16 << 10).after(Duration::from_secs(1)));
    let sink = Sink::start(false).await;
    let folder = tempfile::tempdir().expect("a folder for a script");
    let limited = folder.path().join("callvault");
    let script = format!("#!/bin/sh\nulimit -n 1024\nexec '{}' \"$@\"\n", binary().display());
    std::fs::write(&limited, script).expect("the script can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&limited, executable).expect("it is ours");
    let config = world.config_at(&world.amqp, &world.ccfs.url(), sink.endpoint(), &KEYS);
    let environment = [("CALLVAULT__LOG__LEVEL", "warn")];
    let options = Options { config: &config, environment: &environment, binary: &limited };
    let worker = Worker::start_with(&options).ready().await;

    let (calls, mut events) = (Calls::of(&world), Events::of(&world).await);
    let name = |n| ("acme".to_owned(), format!("1777093663-{n}"));
    let ends = async {
        let mut dead = 0;
        for _ in 0..RECORDINGS {
            dead += usize::from(events.next().await["type"] == "recording.failed");
        }
        dead
    };
    let (_, dead) = tokio::join!(calls.publish_all(0..RECORDINGS, name), ends);
    let log = worker.stop().await;
    let warnings = log.lines().filter(|line| line.contains("LimitNOFILE")).count();
    let dead_of = format!("2,048 in flight with 1,024 files: dead of {RECORDINGS}");
    vec![
        Limit::at_most(dead_of, 0.0, dead as f64, ""),
        Limit::at_least("the same: warnings that say so", 1.0, warnings as f64, ""),
    ]
}
