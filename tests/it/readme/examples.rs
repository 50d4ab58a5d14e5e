//! Configurations load, commands run, messages are read.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use callvault::clock;
use callvault::config::Config;
use callvault::request::{self, Hints};

use super::{blocks, code_spans, commands, pages, root, text};
use crate::support::worker::binary;

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
        // What connects is not started on what is at hand here; other tests do.
        let output = match name {
            "run" | "check" | "init" | "dump" | "dead" => {
                run_in(folder.path(), &format!("{command} --help"))
            }
            _ => run_in(folder.path(), command),
        };
        let told = String::from_utf8_lossy(&output.stderr);
        // Nobody listens, so who asks a worker fails; what is shown is no wrong usage.
        let expected = i32::from(["healthcheck", "status"].contains(&name));
        assert_eq!(output.status.code(), Some(expected), "{command}: {told}");
    }
}

#[test]
fn the_readme_says_how_to_get_the_program_before_it_uses_it() {
    let readme = text("README.md");
    let commands = commands(&readme);
    let place = |start: &str| {
        let found = commands.iter().position(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("README has no command {start}"))
    };
    let ways = ["make deb", "sudo apt install ", "cargo install ", "make image"].map(place);
    assert!(ways.is_sorted() && ways[3] < place("callvault "), "{commands:#?}");
    // A package is where it was made, and begins where the unit looks for its configuration.
    let [made, installed, first, started] = &commands[ways[0]..][..4] else { unreachable!() };
    assert_eq!(
        (&**made, &**installed),
        ("make deb", "sudo apt install ./target/debian/callvault_*.deb")
    );
    assert!(text("deploy/debian/build").contains("folder=${2:-target/debian}"));
    let unit = text("deploy/systemd/callvault.service");
    let path = first.strip_prefix("sudo callvault init --config ").expect("a first configuration");
    assert!(unit.contains(&format!("\nConditionPathExists={path}\n")), "{path}");
    assert_eq!(started, "sudo systemctl enable --now callvault");
    assert!(
        text("Makefile").contains("--tag callvault:dev ")
            && readme.contains("docker run callvault:dev ")
    );
    let cargo: toml::Table = text("Cargo.toml").parse().expect("TOML");
    let rust = cargo["package"]["rust-version"].as_str().expect("a version");
    assert!(readme.contains(&format!("Rust {rust} or newer")));
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
            let least = least.iter().map(|(name, value)| (name.to_string(), value.into()));
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
                let read = request::parse(block.as_bytes(), Hints::default(), clock::now());
                if let Err(rejected) = read {
                    panic!("{path}: {}", rejected.failure);
                }
            }
        }
    }
    assert!(read > 0, "README shows a message");
}
