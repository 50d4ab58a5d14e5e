//! CC-FS takes its time, is off, or away: silence, drops, a clock that is wrong, an outage, and a
//! recording that is very long.

use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;

use crate::support::ccfs::{Framing, Reply};
use crate::support::link::Weather;

use super::super::super::field::Field;
use super::{MORTAL, PART, heals, small, stays};

pub async fn stalled(field: &Field, mut rng: Rng) -> String {
    field.configure(&[MORTAL[0], MORTAL[1], ("ccfs", "read_timeout = \"1s\"")]).await;
    field.start_workers(2).await;
    let mut calls = field.mixed(&mut rng, field.scale.of(60));
    for _ in 0..field.scale.of(20) {
        let whole = small(&mut rng);
        let length = whole.0.content("").length();
        let silent = match rng.u32(..3) {
            0 => Reply::hang(),
            _ => whole.0.clone().stall_at(rng.u64(..length)),
        };
        calls.push(match rng.u32(..4) {
            0 => stays(field, &mut rng, silent, "ccfs.timeout"),
            _ => heals(field, &mut rng, [silent], whole),
        });
    }
    rng.shuffle(&mut calls);
    field.work_off(&calls).await;
    format!("{} recordings", calls.len())
}

pub async fn dripping(field: &Field, mut rng: Rng) -> String {
    let keys = [
        ("worker", "job_deadline = \"10s\""),
        ("retry", "max_attempts = 2"),
        ("retry", "breaker_failures = 100000"),
    ];
    field.configure(&keys).await;
    field.start_workers(2).await;
    let (drops, endless) = (field.scale.of(60), field.scale.of(4));
    let mut calls = Vec::new();
    for _ in 0..drops {
        let framing = [Framing::Length, Framing::Chunked, Framing::Close][rng.usize(..3)];
        let (piece, pause) = [(1, 1), (100, 20), (4000, 500)][rng.usize(..3)];
        let bytes = if piece == 1 { 1200 } else { piece as u64 * rng.u64(2..5) };
        let whole = Reply::wav(bytes).framing(framing).pieces(piece, Duration::from_millis(pause));
        calls.push(heals(field, &mut rng, [], (whole, "wav")));
    }
    for _ in 0..endless {
        let drops = Reply::wav(32_000).pieces(200, Duration::from_millis(500));
        calls.push(stays(field, &mut rng, drops, "job.deadline"));
    }
    field.work_off(&calls).await;
    format!("{drops} recordings in drops, {endless} without end")
}

pub async fn clock(field: &Field, mut rng: Rng) -> String {
    // Refusals are no attempts.
    field.configure(&[("retry", "max_attempts = 3")]).await;
    field.start_workers(2).await;
    let times = field.scale.of(3);
    for _ in 0..times {
        let calls = field.mixed(&mut rng, 60);
        let off = SignedDuration::from_mins(rng.i64(6..600));
        field.world.ccfs.clock_offset(if rng.bool() { off } else { -off });
        field.ask(&calls).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        field.world.ccfs.clock_offset(SignedDuration::ZERO);
        tokio::time::sleep(Duration::from_millis(rng.u64(..1500))).await;
    }
    format!("{times} times")
}

pub async fn down(field: &Field, mut rng: Rng) -> String {
    // An outage uses up no attempts, once the breaker is open.
    field.configure(&[("retry", "max_attempts = 12")]).await;
    field.start_workers(2).await;
    let half = field.scale.lasting(Duration::from_secs(30));
    let calls = field.mixed(&mut rng, field.scale.of(300));
    let (before, during) = calls.split_at(calls.len() / 2);
    field.ask(before).await;
    field.links.ccfs.lock().await.close().await;
    field.ask(during).await;
    tokio::time::sleep(half).await;
    field.links.ccfs.lock().await.restore().await;
    field.links.ccfs.lock().await.set(Weather::BlackHole);
    tokio::time::sleep(half).await;
    field.links.ccfs.lock().await.restore().await;
    format!("twice {half:?}")
}

pub async fn gibibyte(field: &Field, mut rng: Rng) -> String {
    const BYTES: u64 = 1 << 30;
    field
        .configure(&[("worker", "job_deadline = \"10m\""), ("worker", "memory = \"16MiB\"")])
        .await;
    field.start_workers(1).await;
    let whole = Reply::wav(BYTES).framing(Framing::Chunked);
    let cut = whole.clone().cut_at(rng.u64(PART..4 * PART));
    let long = heals(field, &mut rng, [cut], (whole, "wav"));
    // Others go on beside it.
    let small = field.mixed(&mut rng, field.scale.of(40));
    field.ask(&[long]).await;
    field.work_off(&small).await;
    field.quiet(Duration::from_secs(600)).await;
    "beside small ones".to_owned()
}
