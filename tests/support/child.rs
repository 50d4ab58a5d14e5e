//! A server the kit runs as a process of its own, which never outlives the test process.
//!
//! A `drop` is not enough: statics are never dropped, and a test run may be killed. So a watchdog
//! `sh` waits on a pipe that only this process holds: when it closes, for whatever reason, SIGKILL
//! goes to the server's whole process group.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::eventually;

/// A child process, leader of a process group of its own, guarded by a watchdog.
///
/// A daemon that leaves the group (`epmd -daemon`) escapes it: run those in the foreground.
pub struct GuardedChild {
    child: Child,
    watchdog: Child,
    /// The pipe whose end the watchdog waits for.
    lifeline: Option<ChildStdin>,
}

impl GuardedChild {
    /// Starts `command`; its stdin becomes empty, its output goes where the command says.
    ///
    /// # Errors
    /// The program or `sh` cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::spawn_with_input(command, Stdio::null())
    }

    /// The same, with another stdin.
    ///
    /// # Errors
    /// The program or `sh` cannot be started.
    pub fn spawn_with_input(command: &mut Command, input: Stdio) -> io::Result<Self> {
        let mut child = command.stdin(input).process_group(0).spawn()?;
        // A line through the pipe calls the watchdog off; its end without one is our death.
        let script = format!("read -r line || kill -KILL -{}", child.id());
        let watchdog = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watchdog {
            Ok(mut watchdog) => {
                let lifeline = watchdog.stdin.take();
                Ok(Self { child, watchdog, lifeline })
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The process id, which is the group's too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` (`KILL`, `TERM`, `STOP`, `CONT` …) to the whole group.
    pub fn signal(&self, signal: &str) {
        signal_group(self.child.id(), signal);
    }

    /// How it ended, or `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Waits for its end; panics when `limit` has passed.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("process {} ends", self.child.id());
        eventually(&what, limit, || std::future::ready(self.exited())).await
    }

    /// SIGKILL to the group, and waits for the end of its leader.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            signal_group(self.child.id(), "KILL");
            self.child.wait().expect("our own child can be waited for");
        }
    }
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        self.kill();
        // The group is gone and its number may be given to others: call the watchdog off.
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = lifeline.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}

fn signal_group(group: u32, signal: &str) {
    // `kill` is built into sh; the program is in a package that slim images lack.
    let script = format!("kill -{signal} -{group} 2>/dev/null || true");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "sh can send {signal} to {group}");
}
