//! The processor's own counter, by `perf stat`.

use std::fs;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;

const EVENT: &str = "instructions:u";

/// It answers at once.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether it works here: a virtual machine may have none, and a user may not.
pub fn counts() -> bool {
    let count = Command::new("perf").args(["stat", "-x,", "-e", EVENT, "true"]).output();
    count.is_ok_and(|output| number(&String::from_utf8_lossy(&output.stderr)).is_some())
}

pub struct Counting {
    perf: Child,
    input: ChildStdin,
    output: Lines<BufReader<Receiver>>,
    folder: tempfile::TempDir,
}

impl Counting {
    pub async fn start(pid: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder for what it says");
        let mut command = Command::new("perf");
        // It begins when it is told so on its input, and says on its output that it has.
        command.args(["stat", "-x,", "-e", EVENT, "-D", "-1", "--control", "fd:0,1", "-p"]);
        command.arg(pid.to_string()).arg("-o").arg(folder.path().join("count"));
        let mut perf = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Where it says that it begins and ends.
            .stderr(Stdio::null())
            .spawn()
            .expect("perf has been started before");
        let input = perf.stdin.take().expect("it is a pipe");
        let output = perf.stdout.take().expect("it is a pipe");
        let output = Receiver::from_owned_fd(output.into()).expect("a pipe can be read");
        let output = BufReader::new(output).lines();
        let mut counting = Self { perf, input, output, folder };
        counting.tell("enable").await;
        counting
    }

    pub async fn stop(mut self) -> f64 {
        self.tell("disable").await;
        let pid = i32::try_from(self.perf.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process's own number"), Signal::INT).expect("our own child");
        self.perf.wait().expect("our own child can be waited for");
        let said = fs::read_to_string(self.folder.path().join("count")).expect("what it says");
        number(&said).unwrap_or_else(|| panic!("perf counted nothing: {said}"))
    }

    async fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").expect("perf listens");
        let answer = tokio::time::timeout(LIMIT, self.output.next_line()).await;
        let answer = answer.expect("perf answers at once").expect("a pipe can be read");
        // It sends the NUL at the end of its text along.
        let answer = answer.as_deref().map(|line| line.trim_matches('\0'));
        assert_eq!(answer, Some("ack"), "perf does what it is told");
    }
}

/// The first field of the line that is no comment.
fn number(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| !line.is_empty() && !line.starts_with('#'))?;
    line.split(',').next()?.parse().ok()
}
