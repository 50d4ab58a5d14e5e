//! Debian packages that the kit needs and the machine lacks.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Installs `packages`. Their services are neither started now nor at the next boot: the kit runs
/// servers of its own, and a public one is nobody's wish.
///
/// An interrupt is left to apt, which ends what it must not leave half done.
///
/// # Panics
/// They cannot be installed; with apt's output.
pub fn install(packages: &str, services: &str) {
    let script = format!(
        "set -e
        policy=/usr/sbin/policy-rc.d
        trap 'exit 130' INT TERM HUP
        if [ ! -e $policy ]; then
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\\nexit 101\\n' > $policy
            chmod +x $policy
        fi
        export DEBIAN_FRONTEND=noninteractive
        lock='-o DPkg::Lock::Timeout=300'
        apt-get $lock update -q
        apt-get $lock install -q -y --no-install-recommends {packages}
        for service in {services}; do
            systemctl disable --quiet $service 2>/dev/null || true
        done"
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output();
    let output = output.expect("sh runs");
    assert!(
        output.status.success(),
        "{packages} cannot be installed (as root, on Debian, it can):\n{}",
        show(&output)
    );
}

/// What a program has written.
pub fn show(output: &Output) -> String {
    let mut text = output.stdout.clone();
    let _ = text.write_all(&output.stderr);
    String::from_utf8_lossy(&text).into_owned()
}
