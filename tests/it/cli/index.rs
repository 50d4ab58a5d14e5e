//! The index asked from CC-FS itself: `callvault index`, and `--day`, `--from` and `--to` in place of
//! `--index`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use callvault::ccfs::{Client, ResponseId};
use callvault::config::Config;
use insta::assert_snapshot;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Desk, LEAST};
use crate::support::ccfs::{Fault, IndexRow, Packages, Reply, Simulator};
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::world::{SOON, World, access_key};

const DAY: &str = "index --config callvault.toml --tenant acme --day 2026-04-25 --out day.zip";

/// A CC-FS whose account `AK` knows these calls, and who asks it.
async fn desk(calls: &[(&str, DateTime)]) -> (Simulator, Desk) {
    let ccfs = Simulator::start().await;
    ccfs.account("AK", "SK");
    ccfs.knows("AK", calls.iter().map(|(call, begin)| row(call, *begin)));
    let desk = Desk::new(&config(&ccfs));
    (ccfs, desk)
}

fn config(ccfs: &Simulator) -> String {
    LEAST.replace("https://ccfs.example.com:28443", &ccfs.url())
}

/// A call of five minutes.
fn row(call: &str, begin: DateTime) -> IndexRow {
    IndexRow::new(call, begin, begin + jiff::Span::new().minutes(5))
}

fn at(day: i8, hour: i8) -> DateTime {
    date(2026, 4, day).at(hour, 0, 0, 0)
}

/// What is asked for of CC-FS.
fn asked(ccfs: &Simulator) -> Vec<String> {
    let spans =
        ccfs.ordered("AK").into_iter().map(|order| format!("{} {}", order.begin, order.end));
    spans.collect()
}

/// What lies in the folder beside the configuration.
fn beside(desk: &Desk) -> Vec<String> {
    let names = fs::read_dir(desk.folder()).expect("a folder").map(|entry| {
        entry.expect("an entry").file_name().into_string().expect("our names are UTF-8")
    });
    let mut names: Vec<_> = names.filter(|name| name != "callvault.toml").collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_the_package_that_ccfs_made_byte_for_byte() {
    let (ccfs, desk) = desk(&[("1-1", at(25, 7)), ("1-2", at(25, 23)), ("1-3", at(26, 7))]).await;
    ccfs.packages("AK", Packages::default().with_calls().not_ready(1));
    assert_snapshot!(desk.printed(DAY, &[]), @"2 rows of 2026-04-25, 0 not usable, in 1 package: day.zip");
    assert_eq!(asked(&ccfs), ["2026-04-25T00:00:00 2026-04-26T00:00:00"], "all of the day");
    assert_eq!(ccfs.ordered("AK")[0].looks, 2, "it was not there at once");
    assert_eq!(beside(&desk), ["day.zip"]);

    let file = desk.folder().join("day.zip");
    let loaded = Config::load(Some(&desk.folder().join("callvault.toml")), std::iter::empty());
    let tenant = &loaded.expect("a good one").config.tenants[0];
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::new(&tenant.ccfs, &tenant.access_key, &tenant.secret_key, 1).expect("one");
    let name = ccfs.ordered("AK").remove(0).name;
    let (day, id) = name.trim_end_matches(".zip").split_once('_').expect("a day and an id");
    let day = jiff::civil::Date::strptime("%Y%m%d", day).expect("a day");
    let name = ResponseId::new(id).expect("an id").name(day);
    let mut download = client.fetch_index(&name).await.expect("it is there");
    let mut package = Vec::new();
    while let Some(bytes) = download.chunk().await.expect("it comes") {
        package.extend(bytes);
    }
    assert!(fs::read(&file).expect("it is there") == package, "as it came");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds phone numbers");

    // It is what --index reads; and nothing replaces it.
    let dry = "dump --config callvault.toml --tenant acme --dry-run";
    let keys = desk.printed(&format!("{dry} --index day.zip"), &[]);
    assert_snapshot!(keys, @r"
    acme/2026/04/25/1-1.*
    acme/2026/04/25/1-2.*
    ");
    assert_eq!(desk.printed(&format!("{dry} --day 2026-04-25"), &[]), keys);
    let orders = ccfs.ordered("AK").len();
    assert_snapshot!(desk.told(DAY, &[], 2), @"callvault: --out day.zip: is there already, and is not replaced: name another");
    assert_eq!(ccfs.ordered("AK").len(), orders, "nor was anything asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_and_run_again_goes_on() {
    let (ccfs, desk) = desk(&[("1-1", at(25, 7)), ("1-2", at(29, 7))]).await;
    ccfs.packages("AK", Packages::default().not_ready(2));
    let line = "index --config callvault.toml --tenant acme --out days.zip --from 2026-04-25 --to";
    let line = format!("{line} 2026-04-29");
    for orders in [1, 2] {
        let mut command = desk.command(&line, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut index = GuardedChild::spawn(&mut command).expect("it starts");
        let looked = async || {
            let ordered = ccfs.ordered("AK");
            ordered.get(orders - 1).is_some_and(|order| order.looks > 0).then_some(())
        };
        eventually("it waits", SOON, looked).await;
        assert_eq!(index.exited(), None, "it waits");
        index.kill();
        assert_eq!(beside(&desk), ["days.zip.asked"], "nothing of it is there before all is");
    }
    assert_snapshot!(desk.printed(&line, &[]), @"2 rows of 2026-04-25 to 2026-04-29, 0 not usable, in 2 packages: days.zip");
    let due =
        ["2026-04-25T00:00:00 2026-04-28T00:00:00", "2026-04-28T00:00:00 2026-04-30T00:00:00"];
    assert_eq!(asked(&ccfs), due, "nothing was asked for twice");
    assert!(ccfs.ordered("AK").iter().all(|order| order.had));
    assert_eq!(beside(&desk), ["days.zip"]);
    let file = fs::File::open(desk.folder().join("days.zip")).expect("it is there");
    let zip = zip::ZipArchive::new(file).expect("a ZIP");
    let folders = zip.file_names().map(|name| {
        let name = name.expect("UTF-8").into_owned();
        name.split_once('/').expect("a folder").0.to_owned()
    });
    let folders: Vec<_> = folders.collect();
    assert_eq!(folders, ["2026-04-25_to_2026-04-27", "2026-04-28_to_2026-04-29"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_fetched_again() {
    let (ccfs, desk) = desk(&[("1-1", at(25, 7))]).await;
    ccfs.fetches("AK", [Fault::Rotten, Fault::Half]);
    let printed = desk.printed(DAY, &[]);
    assert_eq!(printed, "1 rows of 2026-04-25, 0 not usable, in 1 package: day.zip\n");
    assert_eq!((ccfs.ordered("AK").len(), ccfs.ordered("AK")[0].looks), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_its_release_and_its_clock_an_index_is_read() {
    let (ccfs, desk) = desk(&[("1-1", at(25, 7)), ("1-2", at(25, 8)), ("1-3", at(25, 9))]).await;
    ccfs.knows("AK", [row("1-4", at(25, 10)).agent("客服")]);
    let dry = "dump --config callvault.toml --tenant acme --dry-run --day 2026-04-25";
    for (zone, hours) in [("far east", 14), ("far west", -12)] {
        let zone_of = TimeZone::fixed(jiff::tz::offset(hours));
        ccfs.packages("AK", Packages::default().columns(13).gbk().files(2).named_in(zone_of));
        assert_eq!(desk.printed(dry, &[]).lines().count(), 4, "named in the {zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_used_are_named_and_kept() {
    let (ccfs, desk) = desk(&[("1-1", at(25, 7))]).await;
    ccfs.knows("AK", [IndexRow::raw(at(25, 8), "not,a,row")]);
    let ended = desk.run(DAY);
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stdout, "2 rows of 2026-04-25, 1 not usable, in 1 package: day.zip\n");
    let stem = ccfs.ordered("AK")[0].name.replace(".zip", "");
    let due = format!("{stem}_record_1.csv, line 2: has 3 columns, fewer than 13\n");
    assert_eq!(ended.stderr, due);
    assert_eq!(beside(&desk), ["day.zip"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_is_no_index_is_said() {
    let (ccfs, desk) = desk(&[]).await;
    let told = |line: &str| {
        let told = desk.told(line, &[], 1);
        assert_eq!(beside(&desk).len(), usize::from(told.contains("goes on")), "{told}");
        let _ = fs::remove_file(desk.folder().join("day.zip.asked"));
        let name = ccfs.ordered("AK").last().map(|order| order.name.clone()).unwrap_or_default();
        let id = name.trim_end_matches(".zip").split_once('_').unwrap_or_default().1.to_owned();
        if id.is_empty() { told } else { told.replace(&id, "[id]") }
    };
    // Of what cannot become better nothing is waited for.
    ccfs.orders("AK", [Reply::status(401), Reply::code("0300004")]);
    assert_snapshot!(told(DAY), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.unauthorized: CC-FS refused the access key or the signature; the clocks agree; `callvault check` shows what the account may ask for");
    assert_snapshot!(told(DAY), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.0300004: CC-FS answered: a parameter is missing, empty, too long, too short or malformed, the version is wrong, the body is missing, or the file name's date is bad; it would come to the same again");
    ccfs.fetches(
        "AK",
        [
            Reply::code("0300006").into(),
            Reply::code("0300006").into(),
            Reply::code("0300006").into(),
        ],
    );
    assert_snapshot!(told(DAY), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.0300006: CC-FS answered: a parameter is missing, empty, too long, too short or malformed, the version is wrong, the body is missing, or the file name's date is bad; it had taken the request as [id]; it would come to the same again");
    // Of the rest no longer than is said.
    ccfs.orders("AK", [Reply::html(403)]);
    assert_snapshot!(told(&format!("{DAY} --wait 0s")), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.firewall: a firewall in front of CC-FS answered (HTTP 403); not within 0s (--wait): run it again later");
    ccfs.packages("AK", Packages::default().not_ready(9));
    assert_snapshot!(told(&format!("{DAY} --wait 0s")), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.0300011: CC-FS answered: the file does not exist; it had taken the request as [id]; not within 0s (--wait): run it again, and it goes on waiting");
    let dry = "dump --config callvault.toml --tenant acme --dry-run --day 2026-04-25 --wait 1s";
    assert_snapshot!(told(dry), @"callvault: tenant acme: CC-FS gave no recording index of 2026-04-25: ccfs.0300011: CC-FS answered: the file does not exist; it had taken the request as [id]; not within 1s (--wait): run it again later");
}

#[test]
fn days_that_are_none_are_refused() {
    let desk = Desk::new(LEAST);
    let index = "index --config callvault.toml --tenant acme --out";
    assert_snapshot!(desk.told(&format!("{index} a.zip --from 2026-04-26 --to 2026-04-25"), &[], 2), @"callvault: --from 2026-04-26 --to 2026-04-25: the last day is before the first");
    assert_snapshot!(desk.told(&format!("{index} a.zip --day 25.04.2026"), &[], 2), @"
    error: invalid value '25.04.2026' for '--day <DAY>': write it as 2026-04-25

    For more information, try '--help'.
    ");
    assert_snapshot!(desk.told(&format!("{index} no/where.zip --day 2026-04-25"), &[], 2), @"callvault: no/where.zip.asked: cannot be written: No such file or directory (os error 2); name a file where one can be, with room for it");
    let told = desk.told(&format!("{index} a.zip --day 9999-01-01"), &[], 2);
    assert!(told.starts_with("callvault: --day 9999-01-01: 9999-01-01 has yet to come; today is "));
    for line in [
        &format!("{index} a.zip"),
        &format!("{index} a.zip --from 2026-04-25"),
        &format!("{index} a.zip --day 2026-04-25 --to 2026-04-26"),
        "dump --config callvault.toml --tenant acme --day 2026-04-25 --index day.zip",
        "reconcile --config callvault.toml --tenant acme --call-ids a --from 2026-04-25 --to 2026-04-26",
    ] {
        assert!(desk.told(line, &[], 2).contains("Usage: callvault "), "{line}");
    }
    assert_eq!(beside(&desk), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dump_and_reconcile_ask_ccfs_itself() {
    let world = World::new().await;
    let desk = Desk::new(&world.config(&[("acme", "time_zone = \"Asia/Shanghai\"")]));
    // Two of them in both of the packages that have their midnight, since CC-FS takes the end in.
    let midnight = date(2026, 4, 28).at(0, 0, 0, 0);
    let second = row("1777305600-2", midnight).file_name("X:/4/0/20260428/512/2b.V3");
    world.ccfs.knows(
        &access_key("acme"),
        [
            row("1777093663-1", at(25, 13)),
            row("1777305600-2", midnight),
            second,
            row("1777305600-3", midnight),
        ],
    );
    let span = "--config callvault.toml --tenant acme --from 2026-04-25 --to 2026-04-29";
    let ended = desk.run(&format!("dump {span}"));
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.starts_with("asked for 3 recordings in 1 request, dump-"));
    let message = world.take("jobs").await.json();
    let asked: Vec<_> = message["recordings"].as_array().expect("a list").iter().collect();
    let told = asked.iter().map(|one| (&one["callId"], &one["callEnd"], &one["expected"]));
    let due = [
        (json!("1777093663-1"), json!("2026-04-25T05:05:00Z"), json!(null)),
        (json!("1777305600-2"), json!("2026-04-27T16:05:00Z"), json!(2)),
        (json!("1777305600-3"), json!("2026-04-27T16:05:00Z"), json!(null)),
    ];
    assert_eq!(told.collect::<Vec<_>>(), due.each_ref().map(|(a, b, c)| (a, b, c)));

    for key in ["25/1777093663-1.wav", "28/1777305600-2.zip", "28/1777305600-3.wav"] {
        world.store.s3().put(&world.bucket, &format!("acme/2026/04/{key}"), b"x", &[]).await;
    }
    let found = desk.printed(&format!("reconcile {span}"), &[]);
    assert_snapshot!(found, @"4 rows: 4 present, 0 partial, 0 missing, 0 empty, 0 not usable");

    // That there was no call is an answer.
    let day = "--config callvault.toml --tenant acme --day 2026-01-01";
    assert!(desk.printed(&format!("dump {day}"), &[]).starts_with("asked for 0 recordings in 0 "));
    let found = desk.printed(&format!("reconcile {day}"), &[]);
    assert_snapshot!(found, @"0 rows: 0 present, 0 partial, 0 missing, 0 empty, 0 not usable");
}
