//! Workers die: killed at random, one of several; the same message many times over.

use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;

use crate::support::world::TENANTS;

use super::super::Scenario;
use super::super::field::Field;

pub const ALL: [Scenario; 2] = [
    Scenario {
        name: "kill-one-of-two",
        about: "kill -9 of one of two workers every 200 to 800 ms, through 2,000 messages",
        short: true,
        run: |field, rng| kill_one_of_two(field, rng).boxed_local(),
    },
    Scenario {
        name: "duplicates",
        about: "the same message 500 times over four workers",
        short: true,
        run: |field, rng| duplicates(field, rng).boxed_local(),
    },
];

async fn kill_one_of_two(field: &Field, mut rng: Rng) -> String {
    for place in 0..2 {
        field.fleet.start(place).await;
        field.fleet.ready(place).await;
    }
    let calls = field.mixed(&mut rng, field.scale.of(2000));
    let mut kills = 0;
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rng.u64(200..=800))).await;
            let place = rng.usize(..2);
            field.fleet.kill(place).await;
            field.fleet.start(place).await;
            kills += 1;
        }
    };
    let working = async {
        field.ask(&calls).await;
        while field.waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::select! {
        () = killing => {}
        () = working => {}
    }
    format!("{kills} kills")
}

async fn duplicates(field: &Field, mut rng: Rng) -> String {
    for place in 0..4 {
        field.fleet.start(place).await;
        field.fleet.ready(place).await;
    }
    let times = field.scale.of(500);
    let words = ["w64k", "z3x8k", "w6m", "th.w8k", "h500.w8k"];
    for word in words {
        let extension = if word.starts_with('z') { "zip" } else { "wav" };
        let call = field.call(TENANTS[rng.usize(..2)], word, extension);
        field.ask_times(&call, times).await;
    }
    format!("{} calls, {times} times each", words.len())
}
