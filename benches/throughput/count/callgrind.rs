//! A process under valgrind, whose counts are set to zero and written out while it runs.
//!
//! The simulated processor has no instructions for SHA-256 and none wider than 256 bits, so hashing
//! weighs several times what it does on the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::debian::show;
use crate::support::{kit_dir, unique};

pub struct Counting {
    pid: u32,
}

/// A script that runs the program under valgrind, in its own place: the process is the one that was
/// started.
pub fn wrapped(program: &Path) -> PathBuf {
    let folder = folder();
    fs::create_dir_all(&folder).expect("target/kit can be written");
    let script = folder.join(unique("run"));
    // An older build would start itself again for the variable, and be out of valgrind's hands.
    let text = format!(
        "#!/bin/sh\nexport MALLOC_ARENA_MAX=1\nexec valgrind -q --tool=callgrind \
         --callgrind-out-file='{}/%p' '{}' \"$@\"\n",
        folder.display(),
        program.display()
    );
    fs::write(&script, text).expect("target/kit can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
    script
}

impl Counting {
    pub async fn start(pid: u32) -> Self {
        tell(pid, "zero").await;
        Self { pid }
    }

    pub async fn stop(self) -> f64 {
        tell(self.pid, "dump").await;
        let file = folder().join(format!("{}.1", self.pid));
        let text = fs::read_to_string(&file).expect("callgrind has written its counts");
        eprintln!("callgrind_annotate {} says where they are", file.display());
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse().ok()).expect("counts have a total")
    }
}

fn folder() -> PathBuf {
    kit_dir().join("callgrind")
}

/// Has the tool of a process do something, and waits until it is done.
async fn tell(pid: u32, what: &'static str) {
    let mut command = Command::new("vgdb");
    command.arg(format!("--pid={pid}")).arg(what);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("it does not panic").expect("vgdb, which is valgrind's, runs");
    assert!(output.status.success(), "vgdb {what}: {}", show(&output));
}
