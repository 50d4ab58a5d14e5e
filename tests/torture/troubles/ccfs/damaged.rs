//! CC-FS itself has recordings in a bad shape: what comes the same at three tries is what there is;
//! what heals, or comes otherwise each time, is not stored before it is whole.

use fastrand::Rng;

use crate::support::ccfs::{Framing, Recording, Reply, Sizes, ZipFault};
use crate::support::world::TENANTS;

use super::super::super::field::Field;
use super::super::super::ledger::Call;
use super::{MORTAL, PART, heals, small, stays};

/// A recording that contradicts itself, of so many bytes; its extension, and what it is refused for.
type Damage = (fn(u64) -> Recording, &'static str, &'static str);

const DAMAGES: [Damage; 7] = [
    (|bytes| Recording::wav(bytes).sizes(Sizes::More(1000)), "wav", "ccfs.truncated"),
    (|bytes| Recording::wav(bytes).sizes(Sizes::More(2)), "wav", "ccfs.truncated"),
    (|bytes| half(&Recording::wav(2 * bytes)), "wav", "ccfs.truncated"),
    (|bytes| half(&Recording::zip([bytes, bytes])), "zip", "ccfs.truncated"),
    (|bytes| Recording::zip([bytes, 400]).fault(ZipFault::NoEnd), "zip", "ccfs.truncated"),
    (|bytes| Recording::zip([bytes, 400]).fault(ZipFault::BadDirectory), "zip", "ccfs.truncated"),
    (|_| Recording::zip([]), "zip", "ccfs.empty"),
];

/// Cut while it was written, though all that there is comes.
fn half(whole: &Recording) -> Recording {
    let whole = whole.content("").to_vec();
    Recording::given(whole[..whole.len() / 2].to_vec())
}

pub async fn at_the_source(field: &Field, mut rng: Rng) -> String {
    field.configure(&MORTAL).await;
    field.start_workers(2).await;
    let mut calls = Vec::new();
    for round in 0..field.scale.of(20) {
        for damage in DAMAGES {
            let long = round % 10 == 0;
            let bytes = if long { rng.u64(PART + 1..2 * PART) } else { rng.u64(400..32_000) };
            calls.push(one(field, &mut rng, damage, bytes));
        }
    }
    rng.shuffle(&mut calls);
    let (before, after) = calls.split_at(calls.len() / 2);
    field.ask(before).await;
    // What it had seen twice is in the messages, not in the worker.
    field.fleet.kill(0).await;
    field.fleet.start(0).await;
    field.work_off(after).await;
    format!("{} recordings", calls.len())
}

fn one(field: &Field, rng: &mut Rng, (damage, extension, reason): Damage, bytes: u64) -> Call {
    let framing = [Framing::Length, Framing::Chunked][rng.usize(..2)];
    let damaged = Reply::recording(damage(bytes)).framing(framing);
    match rng.u32(..8) {
        // Whole before the third time.
        0 | 1 => {
            let whole = small(rng);
            heals(field, rng, vec![damaged; 2], whole)
        }
        // Each time another one: seen to be so at its end.
        2 => {
            let other = |seed| {
                let wav = Recording::wav(bytes).sizes(Sizes::More(1000)).seed(seed);
                Reply::recording(wav).framing(framing)
            };
            heals(field, rng, (0..4).map(other), (Reply::wav(bytes), "wav"))
        }
        // The connection's end shows nothing.
        3 => {
            let wav = Recording::wav(bytes).sizes(Sizes::More(1000));
            let closing = Reply::recording(wav).framing(Framing::Close);
            stays(field, rng, closing, "ccfs.truncated")
        }
        kind => {
            let id = field.call_id("s");
            // What is cut on the way says nothing of what there is.
            let cut = (kind == 4).then(|| Reply::wav(64 << 10).cut_at(rng.u64(1..64 << 10)));
            let script = [Some(damaged.clone()), cut, Some(damaged)];
            field.world.ccfs.script(&id, script.into_iter().flatten());
            let content = field.world.ccfs.expected(&id);
            let call = Call::archived(TENANTS[rng.usize(..2)], id, content);
            call.extension(extension).unproven(reason)
        }
    }
}
