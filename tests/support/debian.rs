//! Debian packages that the kit needs and the machine lacks.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
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
    let _turn = turn();
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output();
    let output = output.expect("sh runs");
    assert!(
        output.status.success(),
        "{packages} cannot be installed (as root, on Debian, it can):\n{}",
        show(&output)
    );
}

/// A package, unpacked in a folder of the kit's: nothing is installed, and what it depends on is not
/// fetched.
///
/// # Panics
/// It cannot be fetched; with apt's output.
pub fn unpacked(package: &str) -> PathBuf {
    let folder = kit_dir().join("debian").join(package);
    let _turn = turn();
    if folder.exists() {
        return folder;
    }
    let script = format!(
        "set -e
        rm -rf \"$1.new\" && mkdir -p \"$1.new\" && cd \"$1.new\"
        apt-get download -q {package} || {{ apt-get update -q; apt-get download -q {package}; }}
        dpkg -x ./*.deb . && rm ./*.deb
        mv \"$1.new\" \"$1\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(&folder).stdin(Stdio::null());
    let output = command.output().expect("sh runs");
    let told = "cannot be fetched (on Debian it can)";
    assert!(output.status.success(), "{package} {told}:\n{}", show(&output));
    folder
}

/// One at a time, so that none takes away what another is at.
fn turn() -> File {
    fs::create_dir_all(kit_dir()).expect("the kit's folder can be made");
    let lock = File::create(kit_dir().join("apt.lock")).expect("the lock can be made");
    lock.lock().expect("a file can be locked");
    lock
}

/// What a program has written.
pub fn show(output: &Output) -> String {
    let mut text = output.stdout.clone();
    let _ = text.write_all(&output.stderr);
    String::from_utf8_lossy(&text).into_owned()
}
