//! Completions and manual pages, and that every command shows how it is used.

use std::process::Command;

use callvault::cli::Cli;
use clap::CommandFactory as _;

use super::Desk;

#[test]
fn every_command_has_an_example_that_names_it() {
    fn look(command: &clap::Command, path: &str, seen: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example"), "{path}: no example");
        assert!(help.contains(path), "{path}: an example of something else\n{help}");
        *seen += 1;
        for command in command.get_subcommands() {
            look(command, &format!("{path} {}", command.get_name()), seen);
        }
    }
    let mut seen = 0;
    look(&Cli::command(), "callvault", &mut seen);
    assert!(seen > 8, "only {seen} commands");
}

#[test]
fn completions_and_pages_need_no_configuration() {
    // A wrong one does not matter either.
    let desk = Desk::new("[nonsense]");
    let wrong = [("CALLVAULT_CONFIG", "callvault.toml")];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.printed(&format!("completions {shell}"), &wrong);
        for word in ["redrive", "older-than", "completions"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let told = desk.told("completions tcsh", &[], 2);
    assert!(told.contains("possible values: bash"), "{told}");

    // bash itself completes with it.
    let script = desk.file("completion.sh", desk.printed("completions bash", &[]));
    let ask = "COMP_WORDS=(callvault dead re); COMP_CWORD=2; \
               _callvault callvault re dead; echo ${COMPREPLY[@]}";
    let source = format!("source {}; {ask}", script.display());
    let output = Command::new("bash").args(["-c", &source]).output().expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "redrive\n", "{output:?}");

    let page = desk.printed("man", &[]);
    assert!(page.contains(".TH callvault 1") && page.contains("callvault\\-dead"), "{page}");
    let folder = desk.folder().join("man1");
    std::fs::create_dir(&folder).expect("a folder");
    desk.printed("man --dir man1", &[]);
    let page = std::fs::read_to_string(folder.join("callvault-dead-redrive.1")).expect("a page");
    assert!(page.contains("fresh attempts") && page.contains("rate"), "{page}");
    let told = desk.told("man --dir nowhere/at/all", &[], 1);
    assert!(told.contains("nowhere/at/all") && told.contains("; name a folder"), "{told}");
}
