//! How many instructions of user space a process takes: by the processor's own counter where the
//! machine has one, else on the one that valgrind simulates. Neither drifts as CPU time does.

mod callgrind;
mod perf;

use std::path::{Path, PathBuf};

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    None,
    Perf,
    Callgrind,
}

/// From [`Counter::start`] on.
pub enum Counting {
    Perf(Box<perf::Counting>),
    Callgrind(callgrind::Counting),
}

impl Counter {
    /// The processor's, where it has one that can be seen from here.
    pub fn of_this_machine() -> Self {
        if perf::counts() {
            return Self::Perf;
        }
        eprintln!("perf counts no instructions on this machine: they are counted by callgrind");
        Self::Callgrind
    }

    /// What is started in place of a program that is to be counted.
    pub fn program(self, program: &Path) -> PathBuf {
        match self {
            Self::None | Self::Perf => program.to_owned(),
            Self::Callgrind => callgrind::wrapped(program),
        }
    }

    /// What a worker's sections `[ccfs]` and `[store]` need to say.
    pub fn patience(self) -> &'static str {
        match self {
            Self::None | Self::Perf => "",
            Self::Callgrind => "connect_timeout = \"1m\"\nread_timeout = \"2m\"\n",
        }
    }

    /// Begins to count what this process does from now on, all its threads.
    pub async fn start(self, pid: u32) -> Option<Counting> {
        match self {
            Self::None => None,
            Self::Perf => Some(Counting::Perf(Box::new(perf::Counting::start(pid).await))),
            Self::Callgrind => Some(Counting::Callgrind(callgrind::Counting::start(pid).await)),
        }
    }
}

impl Counting {
    /// Instructions so far, of which no more are counted.
    pub async fn stop(self) -> f64 {
        match self {
            Self::Perf(counting) => counting.stop().await,
            Self::Callgrind(counting) => counting.stop().await,
        }
    }
}
