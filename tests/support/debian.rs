//! Debian packages that the kit needs and the machine lacks.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::kit_dir;

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
        # Whoever else is at work: dpkg's lock can be waited for, that of the lists cannot.
        until said=$(apt-get update -q 2>&1); do
            case $said in *'Could not get lock'*) sleep 2 ;; *) echo \"$said\"; exit 1 ;; esac
        done
        apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends {packages}
        # As `systemctl disable`, which is not everywhere.
        for service in {services}; do rm -f /etc/systemd/system/*.wants/$service; done"
    );
    // One at a time, so that none takes away the policy of another.
    fs::create_dir_all(kit_dir()).expect("the kit's folder can be made");
    let lock = File::create(kit_dir().join("apt.lock")).expect("the lock can be made");
    lock.lock().expect("a file can be locked");
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
