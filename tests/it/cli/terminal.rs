//! How far a long command is, as somebody sees it who sits before a terminal.

use std::process::Command;

use super::{Desk, LEAST, row};
use crate::dead::{bury_many, quiet};
use crate::support::ccfs::{Packages, Simulator};
use crate::support::worker::binary;

/// What a command draws on a terminal of a hundred columns, stderr alone.
fn drawn(desk: &Desk, line: &str, environment: &[(&str, &str)]) -> String {
    let line =
        format!("stty cols 100; {} {line} --config callvault.toml >nothing", binary().display());
    // Of util-linux: it gives a command a terminal and prints what comes of it.
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(desk.folder());
    let path = std::env::var("PATH").expect("whoever runs the tests has one");
    script.env_clear().env("PATH", path).envs(environment.iter().copied());
    let output = script.stdin(std::process::Stdio::null()).output().expect("script is there");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A bar that grows, with `what` is counted, a rate and the time left; and no colours.
fn assert_bar(drawn: &str, what: &str) {
    let frames: Vec<_> = drawn.split('\r').collect();
    let told = frames.iter().find(|frame| frame.contains(what) && frame.contains(" s left"));
    assert!(told.is_some_and(|frame| frame.contains("/s, ") && frame.contains(" %")), "{drawn:?}");
    let grown = |frame: &str| frame.matches('█').count();
    let (first, most) = (grown(frames[0]), frames.iter().map(|frame| grown(frame)).max());
    assert!(most.is_some_and(|most| most > first), "{drawn:?}");
    assert!(!drawn.contains("\u{1b}[3"), "colours: {drawn:?}");
}

#[test]
fn dump_shows_a_bar_and_takes_it_away() {
    let desk = Desk::new(LEAST);
    let rows = (0..40_000).map(|n| row(&format!("1777093663-{n}"), "2026-04-25", ""));
    desk.file("year.csv", rows.collect::<String>());
    let line = "dump --tenant acme --index year.csv --dry-run";
    for plain in [("COLORTERM", "truecolor"), ("NO_COLOR", "1")] {
        let drawn = drawn(&desk, line, &[("TERM", "xterm-256color"), plain]);
        assert_bar(&drawn, " rows, ");
        assert!(drawn.ends_with("\r\u{1b}[2K"), "{drawn:?}");
    }
    // Where nothing can be drawn there are lines alone, and none so soon.
    let dumb = drawn(&desk, line, &[("TERM", "dumb")]);
    assert!(!dumb.contains('\u{1b}') && !dumb.contains('█'), "{dumb:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redrive_shows_a_bar_and_then_what_it_did() {
    let (world, desk) = quiet().await;
    bury_many(&world, 60).await;
    let drawn = drawn(&desk, "dead redrive --rate 40", &[("TERM", "xterm")]);
    assert_bar(&drawn, " put back, ");
    let end = format!("\u{1b}[2K60 (60 to {}) put back\r\n", world.queue("jobs"));
    assert!(drawn.ends_with(&end), "{drawn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn index_says_what_it_waits_for_and_takes_it_away() {
    let ccfs = Simulator::start().await;
    ccfs.account("AK", "SK");
    ccfs.packages("AK", Packages::default().not_ready(1));
    let desk = Desk::new(&LEAST.replace("https://ccfs.example.com:28443", &ccfs.url()));
    let line = "index --tenant acme --day 2026-04-25 --out day.zip";
    let drawn = drawn(&desk, line, &[("TERM", "xterm")]);
    let waits = "2026-04-25: waits for CC-FS to make the index (ccfs.0300011); looks again";
    assert!(drawn.contains(waits), "{drawn:?}");
    assert!(drawn.ends_with("\r\u{1b}[2K"), "{drawn:?}");
}
