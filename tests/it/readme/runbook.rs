//! What operators look up in docs/OPERATIONS.md: reason codes, permissions, headers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use callvault::ccfs::known_codes;
use callvault::config;
use callvault::failure::Reason;
use callvault::runbook;

use super::{code_spans, commands, text};
use crate::cli::Desk;
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::worker::Worker;
use crate::support::world::World;

/// The reason codes that can be known: contract 5's fixed ones, the vendor's table, and the codes
/// of the store that are told apart.
fn reasons() -> BTreeSet<String> {
    let settings = config::Ccfs {
        endpoints: Vec::new(),
        allow_plain: false,
        ca_file: None,
        proxy: None,
        host: None,
        connect_timeout: Duration::ZERO,
        read_timeout: Duration::ZERO,
        max_size: 0,
        index_callback_url: "https://callvault.invalid/".parse().expect("a URL"),
        result_codes: BTreeMap::new(),
    };
    let fixed = Reason::FIXED.iter().map(|reason| reason.as_str().to_owned());
    let ccfs = known_codes(&settings).into_iter().map(|code| format!("ccfs.{code}"));
    let store = [
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "RequestTimeTooSkewed",
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidBucketName",
        "VirtualHostDomainRequired",
        "QuotaExceeded",
        "InsufficientCapacity",
        "InsufficientStorageSpace",
        "XMinioStorageFull",
        "InArrearOrInsufficientBalance",
        "AccountProblem",
        "NotSignedUp",
        "KMS.NotFoundException",
        "KMS.DisabledException",
        "InvalidStorageClass",
        "InvalidTag",
        "InvalidEncryptionAlgorithmError",
        "InvalidRequest",
        "MissingContentMD5",
        "NoCredentials",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "IncompleteBody",
        "KeyTooLongError",
        "KeyTooLong",
        "EntityTooLarge",
        "MetadataTooLarge",
        "RequestNotSent",
        "http_200",
    ];
    let families =
        ["ccfs.http_{status}", "store.http_{status}", "ccfs.{resultCode}", "store.{code}"];
    let store = store.map(|code| format!("store.{code}"));
    // What a label of the metrics says of a code in no table.
    let others = ["ccfs.other", "store.other", "other"].map(str::to_owned);
    fixed.chain(ccfs).chain(store).chain(others).chain(families.map(str::to_owned)).collect()
}

#[test]
fn every_reason_code_stands_in_the_runbook() {
    let runbook = text("docs/OPERATIONS.md");
    let (_, section) = runbook.split_once("\n## Reason codes\n").expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut listed = BTreeSet::new();
    let mut in_code = runbook::ROWS.iter();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "code, meaning, remedy: {row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        listed.extend(code_spans(cells[0]));
        // The page has the same words.
        let known = in_code.next().expect("src/runbook.rs has a row for each");
        assert_eq!(code_spans(cells[0]), known.codes, "{row}");
        let words = (known.meaning, known.advice);
        assert_eq!((&*plain(cells[1]), &*plain(cells[2])), words, "{row}");
    }
    assert!(in_code.next().is_none(), "src/runbook.rs has rows that the runbook lacks");
    let known = reasons();
    let missing: Vec<_> = known.difference(&listed).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let invented: Vec<_> = listed.difference(&known).collect();
    assert!(invented.is_empty(), "rows for codes that do not arise: {invented:?}");
}

/// A cell without what only a page of Markdown can show.
fn plain(cell: &str) -> String {
    let mut text = String::new();
    let mut rest = cell;
    while let Some((before, link)) = rest.split_once("](") {
        let (before, label) = before.rsplit_once('[').expect("a link begins");
        text = text + before + label;
        rest = link.split_once(')').expect("a link ends").1;
    }
    (text + rest).replace('`', "")
}

#[tokio::test]
async fn the_permissions_that_the_runbook_gives_are_enough() {
    let runbook = text("docs/OPERATIONS.md");
    let commands = commands(&runbook);
    let given = commands.iter().find(|line| line.starts_with("rabbitmqctl set_permissions "));
    let patterns: Vec<_> = given.expect("the first setup gives some").split('\'').collect();
    let world = World::new().await;
    let ours = |pattern: &str| {
        let queues = pattern.replace("callvault\\.", &format!("{}\\.", world.prefix));
        queues.replace("calls", &world.calls).replace("recordings", &world.events_exchange)
    };
    let node = node().await;
    let user = world.prefix.clone();
    node.ctl(&["add_user", &user, "password"]).await;
    let [configure, write, read] = [1, 3, 5].map(|at| ours(patterns[at]));
    node.ctl(&["set_permissions", "-p", "/", &user, &configure, &write, &read]).await;

    let amqp = node.url().replace("guest:guest@", &format!("{user}:password@"));
    let config = world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let worker = Worker::start(&config).ready().await;
    // One is retried and then archived, one is dead, two come of a dump.
    let id = "1777093663-1";
    world.ccfs.script_for("ak-acme", id, [Reply::code("0399999"), Reply::wav(640)]);
    let refused = [Reply::code("0300004"), Reply::code("0300004")];
    world.ccfs.script_for("ak-acme", "1777093663-2", refused);
    world.call(id).await;
    world.call("1777093663-2").await;
    world
        .publish(&serde_json::json!({
            "type": "recording.dump-requested", "tenant": "acme", "requestId": "all",
            "recordings": [{ "callId": "1777093663-3" }, { "callId": "1777093663-4" }]
        }))
        .await;
    let events = world.events(5).await;
    let mut types: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    types.sort_unstable();
    let archived = "recording.archived";
    assert_eq!(types, ["dump.expanded", archived, archived, archived, "recording.failed"]);
    // Put back, it dies again for the same reason.
    let desk = Desk::new(&config);
    for line in ["dead list --reason ccfs", "dead redrive --tenant acme"] {
        let ended = desk.run(&format!("{line} --config callvault.toml"));
        assert_eq!(ended.code, 0, "{line}: {}", ended.stderr);
    }
    assert_eq!(world.event().await.json()["type"], "recording.failed");
    let dead = world.take("dead").await;
    // What the runbook says of the headers of a dead message.
    let section = runbook.split("\n## The dead queue\n").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: String = section.lines().filter(|line| line.starts_with("| `")).collect();
    let named = code_spans(&rows);
    for header in &named {
        let optional = ["callvault-step", "callvault-crashes"].contains(&header.as_str());
        assert!(optional || dead.header(header).is_some(), "no {header} on a dead message");
    }
    assert!(named.len() > 5, "{named:?}");
    worker.stop().await;
    node.ctl(&["delete_user", &user]).await;
}
