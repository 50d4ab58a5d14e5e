//! Tells the crate which git revision it is built from (`callvault_build_info`).
//!
//! An image is built from a tree without `.git`: there `CALLVAULT_REVISION` says it.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CALLVAULT_REVISION");
    let given = std::env::var("CALLVAULT_REVISION").ok().filter(|given| !given.is_empty());
    let revision = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=CALLVAULT_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    // The log of HEAD changes with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
