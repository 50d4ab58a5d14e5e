//! What is measured: so many recordings of these sizes, of one tenant.

use crate::count::Counter;
use crate::mix;

/// The one tenant.
pub const TENANT: &str = "acme";

/// `worker.concurrency`, and what the bare loop has under way.
const AT_ONCE: usize = 64;

/// The same where instructions are counted on a processor that is simulated, fifty times slower:
/// connections are few, and all of them are there before it is counted.
const AT_ONCE_SIMULATED: usize = 8;

/// So many recordings.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    sizes: Sizes,
    /// Milliseconds to the first byte.
    wait: u64,
    pub count: usize,
    /// Before the measured ones: connections, pools and buffers are there afterwards.
    pub warm_up: usize,
    pub at_once: usize,
    /// [`Self::count`] and [`Self::warm_up`] on a simulated processor.
    simulated: (usize, usize),
    pub wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Sizes {
    /// Bytes of each.
    All(u64),
    /// As call centres have them.
    Mix,
}

/// What the worker must not cost over TLS, as a multiple of the bare loop's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// CPU time, at most.
    pub cpu: Option<f64>,
    /// Recordings a second, at least.
    pub rate: Option<f64>,
    /// CPU time, at most, as a multiple of what a worker in Python takes.
    pub of_python: Option<f64>,
}

const NOTHING: Wanted = Wanted { cpu: None, rate: None, of_python: None };

const KIBIBYTE: u64 = 1 << 10;
const MEBIBYTE: u64 = 1 << 20;

pub const CASES: [Case; 5] = [
    Case {
        name: "64KiB",
        sizes: Sizes::All(64 * KIBIBYTE),
        wait: 0,
        count: 2000,
        warm_up: 200,
        at_once: AT_ONCE,
        simulated: (200, 60),
        wanted: Wanted { cpu: Some(2.0), of_python: Some(1.0 / 6.0), ..NOTHING },
    },
    Case {
        name: "2MiB",
        sizes: Sizes::All(2 * MEBIBYTE),
        wait: 0,
        count: 600,
        warm_up: 64,
        at_once: AT_ONCE,
        simulated: (24, 16),
        wanted: Wanted { cpu: Some(1.12), ..NOTHING },
    },
    Case {
        name: "64MiB",
        sizes: Sizes::All(64 * MEBIBYTE),
        wait: 0,
        count: 16,
        warm_up: 2,
        at_once: AT_ONCE,
        simulated: (1, 1),
        wanted: Wanted { cpu: Some(1.1), rate: Some(0.9), ..NOTHING },
    },
    Case {
        name: "latency",
        sizes: Sizes::All(2 * MEBIBYTE),
        wait: 200,
        count: 600,
        warm_up: 128,
        at_once: AT_ONCE,
        simulated: (24, 16),
        wanted: NOTHING,
    },
    Case {
        name: "mix",
        sizes: Sizes::Mix,
        wait: 0,
        count: 600,
        warm_up: 64,
        at_once: AT_ONCE,
        simulated: (24, 16),
        wanted: NOTHING,
    },
];

/// One recording of 2 MiB after the other.
pub const ONE: Case = Case {
    name: "one",
    sizes: Sizes::All(2 * MEBIBYTE),
    wait: 0,
    count: 300,
    warm_up: 30,
    at_once: 1,
    simulated: (0, 0),
    wanted: NOTHING,
};

/// Start and rest, without recordings.
pub const IDLE: &str = "idle";

impl Case {
    pub fn named(name: &str) -> Option<Self> {
        CASES.iter().chain([&ONE]).find(|case| case.name == name).copied()
    }

    /// With as many recordings as can be had by that way of counting.
    pub fn counted_by(self, counter: Counter) -> Self {
        match counter {
            Counter::Callgrind => {
                let (count, warm_up) = self.simulated;
                Self { count, warm_up, at_once: AT_ONCE_SIMULATED, ..self }
            }
            Counter::Perf | Counter::None => self,
        }
    }

    /// A call id, at whose end the simulator reads what it answers.
    pub fn call(&self, by: &str, number: usize) -> String {
        let size = self.size(number);
        match self.wait {
            0 => format!("{by}{number}-w{size}"),
            wait => format!("{by}{number}-d{wait}w{size}"),
        }
    }

    /// Bytes of the largest.
    pub fn largest(&self) -> u64 {
        (0..self.warm_up + self.count).map(|number| self.size(number)).max().unwrap_or_default()
    }

    fn size(&self, number: usize) -> u64 {
        match self.sizes {
            Sizes::All(bytes) => bytes,
            Sizes::Mix => mix::bytes(number),
        }
    }
}
