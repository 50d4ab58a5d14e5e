//! The Debian package, as Cargo.toml and `deploy/debian` say it: all that is in it is there, and is where the
//! units and each other's words look for it. `make deb-test` installs one.

use std::path::Path;
use std::process::Command;

use callvault::cli::Cli;
use clap::CommandFactory as _;
use toml::Value;

use crate::support::debian;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `[package.metadata.deb]`.
fn metadata() -> Value {
    let cargo: toml::Table = file("Cargo.toml").parse().expect("TOML");
    cargo["package"]["metadata"]["deb"].clone()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|word| word.as_str().expect("a word")).collect()
}

/// What lies where after an installation: path, source, mode.
fn contents(metadata: &Value) -> Vec<(String, String, String)> {
    let assets = metadata["assets"].as_array().expect("a list");
    let place = |asset: &Value| {
        let [source, place, mode] = words(asset)[..] else { panic!("{asset}") };
        let name = if place.ends_with('/') { source.rsplit('/').next() } else { None };
        (format!("/{place}{}", name.unwrap_or_default()), source.to_owned(), mode.to_owned())
    };
    assets.iter().map(place).collect()
}

/// The values of a key in a unit, in their order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.collect()
}

const UNITS: [&str; 2] = ["callvault", "callvault-audit"];

#[test]
fn all_that_is_in_it_is_there_or_made_for_it() {
    let build = file("deploy/debian/build");
    for (place, source, mode) in contents(&metadata()) {
        match source.strip_prefix("target/deb/") {
            Some(made) => {
                // A shell's completions have its name at their end.
                let (made, shell) = made.rsplit_once('.').unwrap_or((made, ""));
                assert!(build.contains(&format!("\"$parts/{}", made.trim_end_matches("/*"))));
                assert!(["", "1", "bash", "zsh", "fish"].contains(&shell), "{source}");
                assert!(shell.len() < 2 || build.contains(&format!(" {shell}")), "{source}");
            }
            None => assert!(root().join(&source).is_file(), "{place}: there is no {source}"),
        }
        let program = place == "/usr/bin/callvault";
        assert_eq!(mode == "755", program, "{place}: {mode}");
    }
    let metadata = metadata();
    let changelog = metadata["changelog"].as_str().expect("a path");
    assert!(build.contains(&changelog.replace("target/deb/", "$parts/")));
}

#[test]
fn it_has_all_units_and_the_units_find_what_is_in_it() {
    let metadata = metadata();
    let units = metadata["systemd-units"].as_array().expect("a list");
    let names: Vec<_> =
        units.iter().map(|unit| unit["unit-name"].as_str().expect("a name")).collect();
    let mut there = Vec::new();
    for entry in root().join("deploy/systemd").read_dir().expect("a folder") {
        let path = entry.expect("an entry of it").path();
        there.extend(path.file_stem().map(|name| name.display().to_string()));
    }
    there.sort_unstable();
    there.dedup();
    assert_eq!((names.as_slice(), there.as_slice()), (&UNITS[..], &UNITS.map(str::to_owned)[..]));
    // The worker is enabled and started, the audit neither.
    let [worker, audit] = &units[..] else { panic!("{units:?}") };
    assert!(worker.get("enable").is_none() && worker.get("start").is_none());
    assert!([&audit["enable"], &audit["start"]].iter().all(|set| set.as_bool() == Some(false)));

    let contents = contents(&metadata);
    let placed = |path: &str| contents.iter().any(|(place, ..)| place == path);
    let user = file("deploy/debian/callvault.sysusers");
    let user = user.lines().find_map(|line| line.strip_prefix("u ")).expect("a user");
    let pages = pages(&Cli::command(), "callvault");
    for unit in units {
        assert_eq!(unit["unit-scripts"].as_str(), Some("deploy/systemd"));
        let name = unit["unit-name"].as_str().expect("a name");
        let text = file(&format!("deploy/systemd/{name}.service"));
        // A name without a folder is looked for in /usr/bin, too.
        let [command] = values(&text, "ExecStart")[..] else { panic!("{name} starts one program") };
        assert!(command.starts_with("callvault ") && placed("/usr/bin/callvault"));
        let [environment] = values(&text, "EnvironmentFile")[..] else { panic!("{name}: one") };
        assert!(environment.strip_prefix('-').is_some_and(placed), "{environment}");
        assert_eq!(values(&text, "User"), [user.split(' ').next().expect("a name")]);
        let [manual] = values(&text, "Documentation")[..] else { panic!("{name}: one page") };
        let page = manual.strip_prefix("man:").and_then(|page| page.strip_suffix("(1)"));
        assert!(page.is_some_and(|page| pages.iter().any(|one| one == page)), "{manual}");
    }
    assert!(placed("/usr/share/man/man1/*.1"));
    // It begins where its configuration is, and not before.
    let worker = file("deploy/systemd/callvault.service");
    let [command] = values(&worker, "ExecStart")[..] else { panic!("one program") };
    let config = command.strip_prefix("callvault run --config ").expect("its configuration");
    assert_eq!(values(&worker, "ConditionPathExists"), [config]);
    assert_eq!(Path::new(config).parent(), Some(Path::new("/etc/callvault")));
}

/// The names of all commands' manual pages.
fn pages(command: &clap::Command, name: &str) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|below| {
        let name = format!("{name}-{}", below.get_name());
        pages(below, &name)
    });
    std::iter::once(name.to_owned()).chain(below).collect()
}

#[test]
fn its_scripts_are_shell_and_have_the_place_for_what_is_made_of_the_units() {
    let scripts = metadata()["maintainer-scripts"].as_str().expect("a folder").to_owned();
    for script in ["postinst", "postrm"] {
        let path = root().join(&scripts).join(script);
        let output = Command::new("sh").arg("-n").arg(&path).output().expect("sh runs");
        assert!(output.status.success(), "{}", debian::show(&output));
        let text = file(&format!("{scripts}/{script}"));
        assert!(text.starts_with("#!/bin/sh\nset -e\n"), "{script}");
        assert_eq!(text.lines().filter(|line| *line == "#DEBHELPER#").count(), 1, "{script}");
    }
    let audit = file("deploy/systemd/callvault-audit.service");
    let numbers = audit.split(' ').skip_while(|word| *word != "--textfile").nth(1).expect("a file");
    assert!(file("deploy/debian/postrm").contains(&format!("rm -f {numbers}\n")));
}
