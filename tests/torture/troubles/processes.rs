//! Workers die: killed at random, between two steps, told to stop; the same message many times
//! over, and again while it is still worked on.

use std::time::Duration;

use fastrand::Rng;
use futures_util::{FutureExt, future};

use crate::support::ccfs::Reply;
use crate::support::world::TENANTS;

use super::super::Scenario;
use super::super::field::Field;
use super::super::ledger::Call;

pub const ALL: [Scenario; 5] = [
    Scenario {
        name: "kill-one-of-two",
        about: "kill -9 of one of two workers every 200 to 800 ms, through 2,000 messages",
        short: true,
        run: |field, rng| kill_one_of_two(field, rng).boxed_local(),
    },
    Scenario {
        name: "crash-points",
        about: "a worker dies 20 times at each of the eleven boundaries between two steps",
        short: true,
        run: |field, rng| crash_points(field, rng).boxed_local(),
    },
    Scenario {
        name: "sigterm",
        about: "SIGTERM at a random moment, 100 times",
        short: true,
        run: |field, rng| sigterm(field, rng).boxed_local(),
    },
    Scenario {
        name: "duplicates",
        about: "the same message 500 times over four workers",
        short: true,
        run: |field, rng| duplicates(field, rng).boxed_local(),
    },
    Scenario {
        name: "redelivery",
        about: "messages come again while their recordings are being uploaded",
        short: false,
        run: |field, rng| redelivery(field, rng).boxed_local(),
    },
];

async fn kill_one_of_two(field: &Field, mut rng: Rng) -> String {
    // Few at once, so that there is work for many kills.
    field.configure(&[("worker", "concurrency = 6")]).await;
    field.start_workers(2).await;
    let calls = field.mixed(&mut rng, field.scale.of(2000));
    let mut kills = 0;
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rng.u64(200..=800))).await;
            let place = rng.usize(..2);
            field.fleet.kill(place).await;
            field.fleet.start(place).await;
            kills += 1;
            // Whoever is killed has worked: on a busy machine nothing would ever be done, and who
            // is in hand at so many deaths is suspect, by contract.
            field.fleet.ready(place).await;
        }
    };
    tokio::select! {
        () = killing => {}
        () = field.work_off(&calls) => {}
    }
    format!("{kills} kills")
}

/// With what has to be on its way for a worker to come there.
pub const POINTS: [(&str, &str); 11] = [
    ("received", "w8k"),
    ("signed", "w8k"),
    ("first_byte", "w8k"),
    ("proven", "w8k"),
    ("put_sent", "w8k"),
    ("put_done", "w8k"),
    // Of a recording in parts only.
    ("completed", "w5500k"),
    ("event_sent", "w8k"),
    ("event_confirmed", "w8k"),
    ("before_ack", "h500.w8k"),
    ("after_ack", "h500.w8k"),
];

/// Two workers die again and again; a third takes what they leave, so that nothing goes round so
/// often that it is suspect.
async fn crash_points(field: &Field, mut rng: Rng) -> String {
    field.fleet.start(2).await;
    field.fleet.ready(2).await;
    let deaths = field.scale.of(20);
    let (mut early, mut late) = (rng.fork(), rng.fork());
    let (first, second) = tokio::join!(
        die(field, 0, &POINTS[..6], deaths, &mut early),
        die(field, 1, &POINTS[6..], deaths, &mut late),
    );
    for missed in [first, second].concat() {
        field.fleet.find(missed);
    }
    format!("{deaths} deaths at each of {} points", POINTS.len())
}

/// What could not be made to happen.
async fn die(
    field: &Field,
    place: usize,
    points: &[(&str, &'static str)],
    deaths: usize,
    rng: &mut Rng,
) -> Vec<String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut missed = Vec::new();
    for (point, word) in points {
        for _ in 0..deaths {
            let pass = rng.u32(1..=2);
            field.fleet.start_with(place, &[("CALLVAULT_CRASH", &format!("{point}:{pass}"))]).await;
            field.fleet.ready_or_gone(place).await;
            let mut crashed = false;
            for _ in 0..10 {
                // The third worker takes its share.
                let calls: Vec<_> =
                    (0..4).map(|_| field.call(TENANTS[rng.usize(..2)], word, "wav")).collect();
                field.ask(&calls).await;
                crashed = field.fleet.crashed(place, PATIENCE).await;
                if crashed {
                    break;
                }
            }
            if !crashed {
                missed.push(format!("{point}:{pass} did not go off"));
                field.fleet.kill(place).await;
            }
        }
    }
    missed
}

async fn sigterm(field: &Field, mut rng: Rng) -> String {
    let times = field.scale.of(100);
    let calls = field.mixed(&mut rng, field.scale.of(1000));
    let stopping = async |place: usize, mut rng: Rng, times: usize| {
        for _ in 0..times {
            field.fleet.start(place).await;
            // From its first moment on, or while it works.
            if rng.bool() {
                field.fleet.ready(place).await;
            } else {
                field.fleet.alive(place).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(..500))).await;
            field.fleet.stop(place).await;
        }
    };
    let (first, second) = (rng.fork(), rng.fork());
    // Enough for all of them to have some in hand.
    let asking = async {
        let pause = Duration::from_millis(40);
        for call in &calls {
            field.ask(std::slice::from_ref(call)).await;
            tokio::time::sleep(pause).await;
        }
    };
    tokio::join!(stopping(0, first, times.div_ceil(2)), stopping(1, second, times / 2), asking);
    format!("{times} times")
}

async fn duplicates(field: &Field, mut rng: Rng) -> String {
    field.start_workers(4).await;
    let times = field.scale.of(500);
    // Each is downloaded until the first is stored: of the long one fewer will do.
    let long = field.scale.of(40);
    let words = [("w64k", times), ("z3x8k", times), ("w6m", long), ("h500.w8k", times)];
    for (word, times) in words {
        let extension = if word.starts_with('z') { "zip" } else { "wav" };
        let call = field.call(TENANTS[rng.usize(..2)], word, extension);
        field.ask_times(&call, times).await;
    }
    format!("{times} times each, a long one {long} times")
}

/// The broker takes the connections of workers that upload for dead and sends their messages to
/// others, or to the same ones again.
async fn redelivery(field: &Field, mut rng: Rng) -> String {
    field.start_workers(3).await;
    let cuts = field.scale.of(20);
    for _ in 0..cuts {
        let calls: Vec<_> = (0..3).map(|_| slow_upload(field, &mut rng)).collect();
        field.ask(&calls).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(200..1500))).await;
        field.links.broker.lock().await.cut_once();
    }
    format!("{cuts} cuts")
}

/// A recording of two parts that takes a second or so.
fn slow_upload(field: &Field, rng: &mut Rng) -> Call {
    let reply = Reply::wav(rng.u64(5_300_000..8_000_000));
    let reply = reply.pieces(512 << 10, Duration::from_millis(80));
    field.scripted(TENANTS[rng.usize(..2)], reply)
}
