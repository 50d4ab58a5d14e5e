//! The store refuses, breaks off, says nothing, lies, or is not there.

use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;

use crate::support::link::Weather;
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::TENANTS;

use super::super::Scenario;
use super::super::field::Field;
use super::super::ledger::Call;

pub const ALL: [Scenario; 7] = [
    Scenario {
        name: "store-errors",
        about: "500, 503 SlowDown and 403 to some requests of every kind, 40 times",
        short: true,
        run: |field, rng| errors(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-refuses",
        about: "403, 503 SlowDown or 500 to everything, for 6 s each",
        short: false,
        run: |field, rng| refuses(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-resets",
        about: "connections are reset before, within and after what is sent, 40 times",
        short: true,
        run: |field, rng| resets(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-silent",
        about: "the store takes a request and never answers, 8 times",
        short: false,
        run: |field, rng| silent(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-complete",
        about: "status 200 with an error in it when an upload is completed, a while or for good",
        short: false,
        run: |field, rng| complete(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-unconditional",
        about: "the store ignores or refuses conditions while calls come several times over",
        short: true,
        run: |field, rng| unconditional(field, rng).boxed_local(),
    },
    Scenario {
        name: "store-down",
        about: "the store is down for a minute: refuses, then says nothing",
        short: false,
        run: |field, rng| down(field, rng).boxed_local(),
    },
];

/// All that archiving asks of a store.
const OPS: [Op; 6] = [
    Op::Put,
    Op::Head,
    Op::CreateMultipart,
    Op::UploadPart,
    Op::CompleteMultipart,
    Op::AbortMultipart,
];
const BROKEN: Fault = Fault::Answer { status: 500, code: "InternalError" };
const BUSY: Fault = Fault::Answer { status: 503, code: "SlowDown" };
const DENIED: Fault = Fault::Answer { status: 403, code: "AccessDenied" };

/// Recordings of two parts.
fn long(field: &Field, rng: &mut Rng, count: usize) -> Vec<Call> {
    let word = |rng: &mut Rng| format!("w{}", rng.u32(5_300_000..9_000_000));
    (0..count).map(|_| field.call(TENANTS[rng.usize(..2)], &word(rng), "wav")).collect()
}

/// `times` troubles of some requests, each while short and long recordings are stored.
async fn while_storing(
    field: &Field,
    rng: &mut Rng,
    times: usize,
    mut trouble: impl AsyncFnMut(&mut Rng),
) {
    for _ in 0..times {
        trouble(rng).await;
        let calls = [field.mixed(rng, 8), long(field, rng, 1)].concat();
        field.ask(&calls).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..300))).await;
    }
}

async fn errors(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(40);
    while_storing(field, &mut rng, times, async |rng| {
        let fault = [BROKEN, BUSY, DENIED][rng.usize(..3)].clone();
        // A request is sent three times before its error counts.
        field.world.store.fault(OPS[rng.usize(..OPS.len())], rng.u32(1..12), fault);
    })
    .await;
    format!("{times} faults")
}

async fn refuses(field: &Field, mut rng: Rng) -> String {
    // What is refused or throttled counts no attempt, and neither does an outage that is known.
    field.configure(&[("retry", "max_attempts = 6")]).await;
    field.start_workers(2).await;
    let faults = [DENIED, BUSY, BROKEN];
    for fault in &faults {
        let calls = [field.mixed(&mut rng, field.scale.of(60)), long(field, &mut rng, 2)].concat();
        OPS.iter().for_each(|op| field.world.store.fault(*op, ALWAYS, fault.clone()));
        field.ask(&calls).await;
        tokio::time::sleep(field.scale.lasting(Duration::from_secs(6))).await;
        field.world.store.heal();
        tokio::time::sleep(Duration::from_millis(rng.u64(..2000))).await;
    }
    format!("{} faults", faults.len())
}

async fn resets(field: &Field, mut rng: Rng) -> String {
    field.start_workers(2).await;
    let times = field.scale.of(40);
    while_storing(field, &mut rng, times, async |rng| {
        let some = rng.u32(1..8);
        let (op, fault) = match rng.u32(..6) {
            0 => (OPS[rng.usize(..OPS.len())], Fault::ResetBefore),
            1 => (Op::Put, Fault::ResetAfterBytes(rng.usize(..20_000))),
            2 => (Op::UploadPart, Fault::ResetAfterBytes(rng.usize(..4 << 20))),
            3 => (OPS[rng.usize(..OPS.len())], Fault::ResetInsteadOfAnswer),
            weather => {
                let link = field.links.store.lock().await;
                // The first lasts until another comes.
                match weather {
                    4 => link.set(Weather::Torn(rng.usize(100_000..8_000_000))),
                    _ => link.cut_once(),
                }
                return;
            }
        };
        field.world.store.fault(op, some, fault);
    })
    .await;
    format!("{times} resets")
}

async fn silent(field: &Field, mut rng: Rng) -> String {
    // A part may take longer than a job: then the job's deadline ends the silence.
    let keys = [
        ("worker", "job_deadline = \"30s\""),
        ("store", "connect_timeout = \"1s\""),
        ("store", "read_timeout = \"2s\""),
    ];
    field.configure(&keys).await;
    field.start_workers(2).await;
    let times = field.scale.of(8);
    while_storing(field, &mut rng, times, async |rng| {
        field.world.store.fault(OPS[rng.usize(..OPS.len())], rng.u32(1..4), Fault::Stall);
    })
    .await;
    format!("{times} times")
}

/// The status says 200, the body that nothing was made.
async fn complete(field: &Field, mut rng: Rng) -> String {
    let keys = [("retry", "max_attempts = 3"), ("retry", "breaker_failures = 100000")];
    field.configure(&keys).await;
    field.start_workers(2).await;
    let error = |code| Fault::OkWithError { code };
    let op = Op::CompleteMultipart;
    let count = field.scale.of(6);
    field.world.store.fault(op, ALWAYS, error("InternalError"));
    let dead = long(field, &mut rng, count);
    let dead = dead.into_iter().map(|call| Call::dead(call.tenant, call.id, "store.InternalError"));
    field.ask(&dead.collect::<Vec<_>>()).await;
    field.quiet(Duration::from_secs(150)).await;
    field.world.store.heal();
    for code in ["SlowDown", "InternalError", "AccessDenied"] {
        // Failures that count may hit the same recording twice: its third attempt is left.
        field.world.store.fault(op, 6, error(code));
        field.ask(&long(field, &mut rng, count)).await;
    }
    format!("{count} for good, {} for a while", 3 * count)
}

/// Two workers may store the same bytes twice then, and must store no others.
async fn unconditional(field: &Field, mut rng: Rng) -> String {
    field.start_workers(3).await;
    let rounds = field.scale.of(12);
    for round in 0..rounds {
        field.world.store.heal();
        let fault = if round % 3 == 2 { Fault::RefuseCondition } else { Fault::IgnoreCondition };
        for op in [Op::Put, Op::CompleteMultipart] {
            field.world.store.fault(op, ALWAYS, fault.clone());
        }
        let calls = [field.mixed(&mut rng, 8), long(field, &mut rng, 1)].concat();
        for call in &calls {
            field.ask_times(call, rng.usize(2..8)).await;
        }
    }
    // The last fault stays until all is done.
    field.quiet(Duration::from_secs(150)).await;
    format!("{rounds} rounds")
}

async fn down(field: &Field, mut rng: Rng) -> String {
    // An outage uses up no attempts, once the breaker is open.
    field.configure(&[("retry", "max_attempts = 12")]).await;
    field.start_workers(2).await;
    let half = field.scale.lasting(Duration::from_secs(30));
    let calls = [field.mixed(&mut rng, field.scale.of(300)), long(field, &mut rng, 8)].concat();
    let (before, during) = calls.split_at(calls.len() / 2);
    field.ask(before).await;
    field.links.store.lock().await.close().await;
    field.ask(during).await;
    tokio::time::sleep(half).await;
    field.links.store.lock().await.restore().await;
    field.links.store.lock().await.set(Weather::BlackHole);
    tokio::time::sleep(half).await;
    field.links.store.lock().await.restore().await;
    format!("twice {half:?}")
}
