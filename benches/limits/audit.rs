//! The nightly audit of a million recordings: its memory does not grow with them.

use std::fs::File;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::flow::accounts;
use crate::limit::{Limit, MEBIBYTE};
use crate::support::ccfs::IndexRow;
use crate::support::child::GuardedChild;
use crate::support::s3::shelf::{Keys, Shelf};
use crate::support::usage;
use crate::support::worker::{Worker, binary};
use crate::support::world::{World, access_key};

const TENANTS: usize = 10;

/// As the timer in deploy/ has it.
const DAYS: u64 = 3;

/// Of a tenant and day; a million and twenty in all.
const ROWS: u64 = 33_334;

/// One of so many is not in the bucket.
const GAPS: u64 = 100;

/// Memory is looked at so often.
const SAMPLE_EVERY: Duration = Duration::from_millis(10);

/// The days that are audited, the first of them.
#[derive(Clone, Copy)]
struct Since(Date);

impl Since {
    /// On the clocks of the tenants, which show UTC.
    fn now() -> Self {
        let today = callvault::clock::now().to_zoned(TimeZone::UTC).date();
        Self(today.checked_sub(3.days()).expect("a day of these years"))
    }

    fn day(self, number: u64) -> Date {
        let day = i64::try_from(number / ROWS).expect("few");
        self.0.checked_add(day.days()).expect("a day of these years")
    }

    /// A row of a tenant: one every two seconds of its day.
    fn row(self, number: u64) -> IndexRow {
        let second = i64::try_from(10 + 2 * (number % ROWS)).expect("those of a day");
        let begin = self.day(number).at(0, 0, 0, 0).checked_add(second.seconds());
        let begin = begin.expect("the same day");
        let end = begin.checked_add(50.seconds()).expect("the day or the next");
        IndexRow::new(call_id(number), begin, end)
    }
}

/// In the order of their numbers.
fn call_id(number: u64) -> String {
    format!("1777093663-{number:07}")
}

/// What is in the bucket; a key's number is that of its row, whoever the tenant.
impl Keys for Since {
    fn under(&self, prefix: &str) -> Range<u64> {
        let day =
            prefix.split_once('/').map(|(_, day)| day.trim_end_matches('/').replace('/', "-"));
        let day = day.and_then(|day| day.parse::<Date>().ok());
        let numbers = (0..DAYS).map(|day| day * ROWS..(day + 1) * ROWS);
        numbers.into_iter().find(|of| Some(self.day(of.start)) == day).unwrap_or(0..0)
    }

    /// Those of one tenant are those of the others, too: the prefix is as it was asked for.
    fn key(&self, prefix: &str, number: u64) -> Option<String> {
        let there = !number.is_multiple_of(GAPS);
        there.then(|| format!("{prefix}{}.wav", call_id(number)))
    }
}

pub async fn measure() -> Vec<Limit> {
    let world = World::new().await;
    world.ccfs.remember(false);
    let since = Since::now();
    let tenants = accounts(&world, TENANTS);
    for tenant in 0..TENANTS {
        let key = access_key(&format!("t{tenant}"));
        world.ccfs.knows_many(&key, DAYS * ROWS, move |number| since.row(number));
    }
    let shelf = Shelf::start(since).await;
    // Nothing of yesterday is on its way any more; and ten packages are made at once, on the cores that
    // there are.
    let keys = [("retry", "not_ready_window = \"1m\""), ("ccfs", "read_timeout = \"2m\"")];
    let config =
        world.config_at(&world.amqp, &world.ccfs.url(), shelf.endpoint(), &keys) + &tenants;
    // It makes the queues.
    Worker::start(&config).ready().await.stop().await;

    let folder = tempfile::tempdir().expect("a folder for the configuration");
    let [file, table] = ["callvault.toml", "table"].map(|name| folder.path().join(name));
    std::fs::write(&file, config).expect("the folder is ours");
    let mut command = Command::new(binary());
    command.args(["audit", "--since", "3d", "--enqueue", "--config"]).arg(file);
    command.arg("--tenant").args((0..TENANTS).map(|tenant| format!("t{tenant}")));
    command.stdout(File::create(&table).expect("the folder is ours")).stderr(Stdio::null());
    command.env("CALLVAULT__LOG__LEVEL", "error");

    let (began, before) = (Instant::now(), shelf.asked());
    let mut audit = GuardedChild::spawn(&mut command).expect("it starts");
    let mut peak = 0;
    while audit.exited().is_none() {
        // It only rises, so that the last look is all that there is to see.
        peak = usage::peak_rss_unless_ended(audit.pid()).unwrap_or(peak);
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let asked = shelf.asked() - before;
    let table = std::fs::read_to_string(table).expect("it has written it");
    let last = table.lines().last().unwrap_or_default();
    let rows = DAYS * ROWS * TENANTS as u64;
    let missing = (0..DAYS * ROWS).filter(|number| number.is_multiple_of(GAPS)).count() * TENANTS;
    let found =
        format!("{rows} rows, {} present, 0 partial, {missing} missing", rows - missing as u64);
    assert!(last.contains(&found), "it found something else: {last}");
    println!("audit: {last}\naudit: {seconds:.1} s, {asked} requests to the store");
    vec![
        Limit::at_most(
            "peak RSS of an audit of a million recordings",
            64.0,
            peak as f64 / MEBIBYTE,
            " MiB",
        ),
        Limit::at_most("the same: from start to end", 90.0, seconds, " s"),
        Limit::at_most("the same: requests to the store", 1100.0, asked as f64, ""),
    ]
}
