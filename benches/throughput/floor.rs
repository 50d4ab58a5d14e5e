//! The bare loop as it is measured: a process of its own, as the worker is.

use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;

use crate::case::Case;
use crate::stage::Stage;

/// The first argument of this program that makes it the loop; [`Work`] is the second.
pub const COMMAND: &str = "bare-loop";

/// What the bare loop, which has no budget, may hold of whole recordings, in bytes.
const HOLDS: u64 = 256 << 20;

/// What it does.
#[derive(Serialize, Deserialize)]
pub struct Work {
    pub ccfs: String,
    pub s3: String,
    /// Who vouches for the first and for the second, with TLS.
    pub ca_files: Option<(PathBuf, PathBuf)>,
    /// Of the case of this name,
    pub case: String,
    /// so many before the measured ones,
    pub warm_up: usize,
    /// and so many of these,
    pub count: usize,
    /// with so many under way.
    pub at_once: usize,
}

/// What it has measured of itself.
#[derive(Serialize, Deserialize)]
pub struct Ran {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_rss: u64,
    /// The seconds of each recording.
    pub each: Vec<f64>,
}

/// What some recordings took, by whomever.
#[derive(Clone, Debug, Default)]
pub struct Took {
    pub wall: Duration,
    pub cpu_seconds: f64,
    pub peak_rss: u64,
    /// Of user space, where they are counted.
    pub instructions: Option<f64>,
    /// The seconds of each recording.
    pub each: Vec<f64>,
}

/// Runs the loop over the servers of the stage.
pub async fn run(stage: &Stage, case: &Case) -> Took {
    let holds = usize::try_from(HOLDS / case.largest()).unwrap_or(usize::MAX);
    let work = Work {
        ccfs: stage.ccfs.url(),
        s3: stage.sink.endpoint().to_owned(),
        ca_files: stage.ca_files(),
        case: case.name.to_owned(),
        warm_up: case.warm_up,
        count: case.count,
        at_once: case.at_once.min(holds),
    };
    let mut process = Process::start(stage, &work);
    process.says("warm").await;
    let counting = stage.counter.start(process.child.id()).await;
    process.go_on();
    let ran: Ran = serde_json::from_str(&process.line().await).expect("the loop prints JSON");
    let instructions = match counting {
        Some(counting) => Some(counting.stop().await),
        None => None,
    };
    process.end();
    assert_eq!(stage.sink.take().0, case.warm_up + case.count, "every recording is stored");
    Took {
        wall: Duration::from_secs_f64(ran.wall_seconds),
        cpu_seconds: ran.cpu_seconds,
        peak_rss: ran.peak_rss,
        instructions,
        each: ran.each,
    }
}

/// It says when it is warm, goes on when it is told so, says what it took, and ends when it is told
/// so: in between somebody may begin and end to count.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<Receiver>>,
}

impl Process {
    fn start(stage: &Stage, work: &Work) -> Self {
        let own = std::env::current_exe().expect("a process knows its program");
        let work = serde_json::to_string(work).expect("it can be written");
        let mut command = Command::new(stage.counter.program(&own));
        command.args([COMMAND, &work]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let input = child.stdin.take().expect("it is a pipe");
        let output = child.stdout.take().expect("it is a pipe");
        let output = Receiver::from_owned_fd(output.into()).expect("a pipe can be read");
        Self { child, input, output: BufReader::new(output).lines() }
    }

    async fn line(&mut self) -> String {
        let line = self.output.next_line().await.expect("a pipe can be read");
        line.expect("the bare loop says what it took before it ends")
    }

    async fn says(&mut self, what: &str) {
        assert_eq!(self.line().await, what);
    }

    fn go_on(&mut self) {
        use std::io::Write;
        self.input.write_all(b"\n").expect("the bare loop waits");
    }

    fn end(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        let status = child.wait().expect("our own child can be waited for");
        assert!(status.success(), "the bare loop ended with {status}");
    }
}
