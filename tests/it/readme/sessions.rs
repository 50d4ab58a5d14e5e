//! What docs/OPERATIONS.md shows commands to print is what they print.

use std::fs::{File, read_to_string};

use jiff::{SignedDuration, civil};

use super::{blocks, text};
use crate::cli::{Desk, LEAST, package, row};
use crate::dead::{Dead, quiet};
use crate::support::ccfs::{IndexRow, Reply};
use crate::support::s3::{ALWAYS, Fault, Op};
use crate::support::world::{World, access_key};
use crate::waiting::{self, Waiting};

/// The commands of a name that the page shows, each with what it shows them to print.
fn shown(name: &str) -> Vec<(String, String)> {
    let all = blocks(&text("docs/OPERATIONS.md"), "console");
    let all = all.iter().map(|block| {
        // In a list all of a block stands further to the right.
        let indent = block.len() - block.trim_start().len();
        let lines = block.lines().map(|line| format!("{}\n", line.get(indent..).unwrap_or("")));
        let block: String = lines.collect();
        let (command, output) = block.split_once('\n').expect("a command");
        let command = command.strip_prefix("$ callvault ").expect("a command of ours");
        (command.to_owned(), output.trim_end().to_owned())
    });
    all.filter(|(command, _)| command.starts_with(name)).collect()
}

/// What a command prints on a terminal, on stdout and stderr.
fn printed(desk: &Desk, command: &str) -> String {
    let said = desk.folder().join("said");
    let both = File::options().create(true).append(true).open(&said).expect("a file");
    let mut command = desk.command(command, &[]);
    command.stdout(both.try_clone().expect("a second handle")).stderr(both);
    command.status().expect("it starts");
    let text = read_to_string(&said).expect("UTF-8");
    std::fs::remove_file(said).expect("ours");
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>().trim_end().into()
}

/// Without what no two runs have in common, told by what stands around it.
fn timeless(text: &str) -> String {
    let times =
        [("auth-v2/AK/", "/"), (";host/", "'"), ("reconcile-", "\""), ("clock here is ", " b")];
    times.iter().fold(text.to_owned(), |text, (before, after)| {
        let mut parts = text.split(before);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| {
            let (_, rest) = part.split_once(after).unwrap_or_default();
            all + before + "…" + after + rest
        })
    })
}

/// Runs the commands of a name that the page shows.
fn hold(desk: &Desk, name: &str, plain: impl Fn(String) -> String) {
    let shown = shown(name);
    assert!(!shown.is_empty(), "the page shows no {name}");
    for (command, output) in shown {
        hold_one(desk, &command, &output, &plain);
    }
}

fn hold_one(desk: &Desk, command: &str, output: &str, plain: impl Fn(String) -> String) {
    let seen = plain(printed(desk, command));
    let told =
        format!("docs/OPERATIONS.md shows something else than\n$ callvault {command}\n{seen}\n");
    assert_eq!(timeless(&seen), timeless(output), "{told}");
}

/// Names and ports of a world as those of a production.
fn plain(world: &World) -> impl Fn(String) -> String {
    let broker = world.amqp.split_once('@').and_then(|(_, host)| host.split('/').next());
    let names = [
        (world.events_exchange.clone(), "recordings"),
        (world.calls.clone(), "calls"),
        (world.prefix.clone(), "callvault"),
        (world.bucket.clone(), "recordings"),
        (broker.expect("a host").to_owned(), "127.0.0.1:5672"),
        (world.ccfs.address().to_string(), "127.0.0.1:28443"),
    ];
    move |text| names.iter().fold(text, |text, (ours, name)| text.replace(ours, name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_and_the_dead_queue() {
    let (world, desk) = quiet().await;
    let day = |call| row(call, "2025-04-24", "");
    let index = day("1745496000-1") + "not,a,row\r\n" + &day("") + &day("1745496000-4");
    let index = package(&[("20250424_record_1.csv", index + &day("1745496000-5"))]);
    desk.file("2025.zip", index);
    let key = |call: &str| format!("acme/2025/04/24/1745496000-{call}.wav");
    world.store.s3().put(&world.bucket, &key("1"), b"x", &[]).await;
    world.store.s3().put(&world.bucket, &key("4"), b"", &[]).await;
    let known = ["1", "4", "5"].map(|call| {
        let at = |minute| jiff::civil::date(2025, 4, 24).at(12, minute, 0, 0);
        IndexRow::new(format!("1745496000-{call}"), at(0), at(5))
    });
    world.ccfs.knows(&access_key("acme"), known);
    hold(&desk, "index", plain(&world));
    hold(&desk, "dump", plain(&world));
    hold(&desk, "reconcile", plain(&world));

    let of = |call: &str, tenant, reason| Dead { tenant, reason, ..Dead::new(call) };
    of("1777093663-1", "acme", "ccfs.timeout").bury(&world).await;
    of("1777093663-2", "acme", "store.conflict").bury(&world).await;
    of("1777093663-3", "globex", "store.AccessDenied").bury(&world).await;
    hold(&desk, "dead", plain(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_which_a_call_is_missing_and_then_nothing() {
    let world = World::new().await;
    // It makes the queues.
    world.worker(&[]).await.stop().await;
    let put = async |tenant: &str, call: u8| {
        let key = format!("{tenant}/2026/04/24/1777017600-{call}.wav");
        world.store.s3().put(&world.bucket, &key, b"x", &[]).await;
    };
    for (call, tenant) in (1..).zip(["acme", "acme", "acme", "globex", "globex", "acme"]) {
        let noon = civil::date(2026, 4, 24).at(12, 0, 0, 0);
        let row = IndexRow::new(format!("1777017600-{call}"), noon, noon);
        world.ccfs.knows(&access_key(tenant), [row]);
        if call != 6 {
            put(tenant, call).await;
        }
    }
    let desk = Desk::new(&world.config(&[]));
    let shown: [_; 2] = shown("audit").try_into().expect("one before, and one after");
    for ((command, output), missing) in shown.into_iter().zip([true, false]) {
        if !missing {
            put("acme", 6).await;
        }
        hold_one(&desk, &command, &output, plain(&world));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_retry() {
    let (world, desk) = waiting::quiet().await;
    Waiting::new("1777093663-1").park(&world).await;
    let other = Waiting::new("1777093663-2");
    Waiting { tenant: "globex", reason: "ccfs.timeout", ..other }.park(&world).await;
    hold(&desk, "waiting", plain(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_finds_something() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    world.ccfs.clock_offset(SignedDuration::from_secs(440));
    world.store.fault(Op::Put, ALWAYS, Fault::IgnoreCondition);
    let delays = r#"delays = ["5s", "30s", "2m", "10m", "30m", "2h"]"#;
    let config = world.config(&[("retry", delays)]);
    hold(&Desk::new(&config), "check", plain(&world));
}

#[tokio::test]
async fn a_worker_that_is_ready() {
    let world = World::new().await;
    let worker = world.worker(&[]).await;
    let listen = format!("[http]\nlisten = \"127.0.0.1:{}\"\n", worker.port());
    let desk = Desk::new(&(LEAST.to_owned() + &listen));
    hold(&desk, "healthcheck", |text| text);
    worker.stop().await;
}

/// Of the file that stands above it.
#[test]
fn a_configuration() {
    let files = blocks(&text("docs/OPERATIONS.md"), "toml");
    let file = files.iter().find(|file| file.contains("[[tenants]]")).expect("a whole file");
    let file: String = file.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    hold(&Desk::new(&file), "config", |text| text);
}

#[test]
fn a_signed_request() {
    hold(&Desk::new(LEAST), "sign", |text| text);
}
