//! What the pages say is true: commands run, blocks load, links lead somewhere, codes are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use callvault::ccfs::known_codes;
use callvault::config::{self, Config};
use callvault::failure::Reason;
use callvault::request::{self, Hints};

use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::worker::{Worker, binary};
use crate::support::world::World;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page of the repository, by its path in it.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the repository") {
            let entry = entry.expect("an entry of it");
            let name = entry.file_name().into_string().expect("our names are UTF-8");
            let path = folder.join(&name);
            if entry.path().is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".md") {
                let path = path.display().to_string();
                pages.insert(path.clone(), text(&path));
            }
        }
    }
    assert!(pages.contains_key("README.md") && pages.contains_key("docs/OPERATIONS.md"));
    pages
}

/// What is set off as code in a language: ```` ```toml ````.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let after = page.split(&fence).skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// `code` in running text and tables, without fenced blocks.
fn code_spans(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The shell commands of a page, comments dropped, continued lines joined.
fn commands(page: &str) -> Vec<String> {
    let lines: String = blocks(page, "sh").concat().replace("\\\n", " ");
    let bare = lines.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    bare.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The anchor that a heading has on the usual sites.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_matches(['#', ' ']).to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut links = 0;
    for (path, page) in &pages {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { root().join(path) } else { root().join(folder).join(file) };
            assert!(file.exists(), "{path}: {target} leads nowhere");
            if !place.is_empty() {
                let there = fs::read_to_string(&file).expect("a page");
                assert!(anchors(&there).contains(place), "{path}: no heading for {target}");
            }
        }
    }
    assert!(links > 8, "only {links} links were found");
}

#[test]
fn paths_that_pages_name_exist() {
    let folders =
        ["src/", "tests/", "docs/", "deploy/", "config/", "examples/", "benches/", ".ci/"];
    for (path, page) in pages() {
        for span in code_spans(&page) {
            let file = span.split([':', ' ']).next().unwrap_or_default();
            if folders.iter().any(|folder| file.starts_with(folder)) && !file.contains(['*', '{']) {
                assert!(root().join(file).exists(), "{path}: there is no {file}");
            } else if file.ends_with(".rs") {
                assert!(root().join("src").join(file).exists(), "{path}: there is no src/{file}");
            }
        }
    }
}

#[test]
fn the_make_targets_that_pages_name_exist() {
    let makefile = text("Makefile");
    let mut named = 0;
    for (path, page) in pages() {
        let indented = page.lines().filter(|line| line.starts_with("    make")).map(str::trim);
        let shown = commands(&page).into_iter().chain(code_spans(&page));
        for command in shown.chain(indented.map(str::to_owned)) {
            let Some(rest) = command.strip_prefix("make ") else { continue };
            // What is quoted are the arguments of a target.
            let unquoted: String = rest.split(['"', '\'']).step_by(2).collect();
            let words = unquoted.split([' ', ';']).take_while(|word| *word != "#");
            for target in words.filter(|word| !word.is_empty() && !word.contains('=')) {
                named += 1;
                assert!(makefile.contains(&format!("\n{target}: ## ")), "{path}: make {target}");
            }
        }
    }
    assert!(named > 4, "only {named} targets were found");
}

/// A folder with README's configuration and the secrets it names.
fn as_in_the_readme() -> tempfile::TempDir {
    let readme = text("README.md");
    let blocks = blocks(&readme, "toml");
    assert_eq!(blocks.len(), 1, "one configuration, for production");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = blocks[0].replace("/run/secrets", &folder.path().display().to_string());
    for line in config.lines().filter(|line| line.contains("_file = ")) {
        let file = line.split('"').nth(1).expect("a path in quotes");
        // The comment beside it says what the file holds, where that is not plain.
        let content = line.split_once('#').map_or("secret", |(_, comment)| comment.trim());
        fs::write(file, content).expect("it can be written");
    }
    fs::write(folder.path().join("callvault.toml"), config).expect("it can be written");
    folder
}

fn run_in(folder: &Path, command: &str) -> Output {
    let words = command.split_whitespace().skip(1);
    let mut command = Command::new(binary());
    command.args(words).current_dir(folder).env_clear();
    // No other port than this process's own choice may be asked.
    command.env("CALLVAULT__HTTP__LISTEN", "127.0.0.1:1");
    command.output().expect("the binary can be started")
}

#[test]
fn the_readmes_configuration_loads_and_its_commands_run() {
    let folder = as_in_the_readme();
    let file = folder.path().join("callvault.toml");
    let loaded = Config::load(Some(&file), std::iter::empty());
    let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let url = loaded.config.broker.urls[0].read().expect("the file is there");
    assert!(secrecy::ExposeSecret::expose_secret(&url).starts_with("amqps://"));

    let commands = commands(&text("README.md"));
    let ours: Vec<_> = commands.iter().filter(|line| line.starts_with("callvault ")).collect();
    assert!(ours.len() >= 3, "{ours:?}");
    for command in ours {
        let name = command.split(' ').nth(1).unwrap_or_default();
        // A worker is not started on what is at hand here; archive.rs and cli.rs start some.
        let output = match name {
            "run" => run_in(folder.path(), &format!("{command} --help")),
            _ => run_in(folder.path(), command),
        };
        let told = String::from_utf8_lossy(&output.stderr);
        // Nobody listens, so a health check fails; what is shown is no wrong usage.
        let expected = if name == "healthcheck" { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{command}: {told}");
    }
}

#[test]
fn the_commands_that_pages_name_exist() {
    let help = String::from_utf8(run_in(root(), "callvault --help").stdout).expect("UTF-8");
    let known = |name: &str| help.lines().any(|line| line.starts_with(&format!("  {name} ")));
    assert!(known("run") && !known("nothing"));
    for (path, page) in pages() {
        for command in commands(&page).into_iter().chain(code_spans(&page)) {
            let words: Vec<_> = command.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "callvault") else { continue };
            let ours = words[..at].iter().all(|word| word.starts_with("CALLVAULT_"));
            match words.get(at + 1) {
                Some(name) if ours => assert!(known(name), "{path}: there is no `{command}`"),
                _ => (),
            }
        }
    }
}

#[test]
fn toml_in_pages_loads() {
    let least = [
        ("CALLVAULT__CCFS__ENDPOINTS", r#"["https://ccfs.example.com:28443"]"#),
        ("CALLVAULT__STORE__BUCKET", "recordings"),
        ("ACME_SK", "secret"),
    ];
    for (path, page) in pages().into_iter().filter(|(path, _)| path != "README.md") {
        for block in blocks(&page, "toml") {
            let tenant = "\n[[tenants]]\nid = \"rest\"\naccess_key = \"AK\"\nsecret_key = \"SK\"\n";
            let folder = tempfile::tempdir().expect("a temporary folder");
            let secrets = folder.path().join("secret");
            fs::write(&secrets, "secret").expect("it can be written");
            let block: String = block.lines().fold(String::new(), |all, line| {
                let secret = line.contains("_file = \"/run/secrets/");
                let key = line.split('=').next().unwrap_or_default();
                let line = match secret {
                    true => format!("{key}= \"{}\"", secrets.display()),
                    false => line.to_owned(),
                };
                all + &line + "\n"
            });
            let file = folder.path().join("callvault.toml");
            fs::write(&file, block + tenant).expect("it can be written");
            let least = least.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            if let Err(mistakes) = Config::load(Some(&file), least) {
                panic!("{path}: {mistakes}");
            }
        }
    }
}

#[test]
fn the_messages_that_pages_show_are_read() {
    let mut read = 0;
    for (path, page) in pages() {
        for block in blocks(&page, "json") {
            let value: serde_json::Value =
                serde_json::from_str(&block).unwrap_or_else(|error| panic!("{path}: {error}"));
            let kind = value["type"].as_str().unwrap_or_default();
            if ["call.completed", "recording.dump-requested"].contains(&kind) {
                read += 1;
                let hints = Hints { message_type: None, content_type: None };
                if let Err(rejected) = request::parse(block.as_bytes(), hints) {
                    panic!("{path}: {}", rejected.failure);
                }
            }
        }
    }
    assert!(read > 0, "README shows a message");
}

/// The reason codes that can be known: contract 5's fixed ones, the vendor's table, and the codes
/// of the store that are told apart.
fn reasons() -> BTreeSet<String> {
    let settings = config::Ccfs {
        endpoints: Vec::new(),
        ca_file: None,
        proxy: None,
        host: None,
        connect_timeout: Duration::ZERO,
        read_timeout: Duration::ZERO,
        max_size: 0,
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
        "RequestTimeTooSkewed",
        "NoCredentials",
        "SlowDown",
        "KeyTooLongError",
        "EntityTooLarge",
        "RequestNotSent",
    ];
    let families =
        ["ccfs.http_{status}", "store.http_{status}", "ccfs.{resultCode}", "store.{code}"];
    let store = store.map(|code| format!("store.{code}"));
    fixed.chain(ccfs).chain(store).chain(families.map(str::to_owned)).collect()
}

#[test]
fn every_reason_code_stands_in_the_runbook() {
    let runbook = text("docs/OPERATIONS.md");
    let (_, section) = runbook.split_once("\n## Reason codes\n").expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "code, meaning, remedy: {row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        listed.extend(code_spans(cells[0]));
    }
    let known = reasons();
    let missing: Vec<_> = known.difference(&listed).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let invented: Vec<_> = listed.difference(&known).collect();
    assert!(invented.is_empty(), "rows for codes that do not arise: {invented:?}");
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
    world.ccfs.script_for("ak-acme", "1777093663-2", [Reply::code("0300004")]);
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

/// The rows of the tables of docs/CCFS.md: what is said, where it is kept, what shows it.
fn statements() -> Vec<[String; 3]> {
    let page = text("docs/CCFS.md");
    let rows = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    rows.filter(|row| !row.starts_with("| statement "))
        .map(|row| {
            let cells: Vec<_> = row.trim().trim_matches('|').split(" | ").collect();
            let cells = cells.into_iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
            cells.try_into().unwrap_or_else(|_| panic!("three cells: {row}"))
        })
        .collect()
}

#[test]
fn every_statement_of_the_vendor_is_kept_and_tested() {
    let statements = statements();
    assert!(statements.len() > 50, "only {} rows were found", statements.len());
    for [statement, kept, tests] in statements {
        if kept.starts_with("not ours: ") {
            assert!(tests.len() > 1 || tests == "–", "{statement}: a test or a dash");
        } else {
            assert!(!code_spans(&kept).is_empty(), "{statement}: no path");
            assert!(!code_spans(&tests).is_empty(), "{statement}: no test");
        }
        for place in code_spans(&kept).iter().filter(|span| span.contains('/')) {
            let (file, item) = place.split_once("::").unwrap_or_else(|| panic!("no item: {place}"));
            let code = text(file);
            let word = |c: char| !c.is_alphanumeric() && c != '_';
            assert!(
                code.split(word).any(|found| found == item),
                "{statement}: no {item} in {file}"
            );
        }
        for test in code_spans(&tests) {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("no name: {test}"));
            let code = text(file);
            let (before, _) = code
                .split_once(&format!("fn {name}("))
                .unwrap_or_else(|| panic!("{statement}: no test {name} in {file}"));
            let attribute = |line: &str| line.trim().starts_with("#[") && line.contains("test");
            assert!(before.lines().rev().take(3).any(attribute), "{name} is no test");
        }
    }
}
