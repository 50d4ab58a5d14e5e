//! What the command line asks for.

use crate::case::{CASES, Case, IDLE, ONE};
use crate::count::Counter;

pub const USAGE: &str = "usage: make bench [RABBITMQ=4] ARGS='[64KiB] [2MiB] [64MiB] [latency] [mix] [one] [idle] [--rounds N] \
                         [--plain] [--verify] [--memory 256MiB] [--instructions] [--callgrind] [--python]'";

pub struct Options {
    pub cases: Vec<Case>,
    /// One recording after the other.
    pub one: bool,
    /// Start and rest.
    pub idle: bool,
    pub rounds: usize,
    /// CC-FS and store are asked over TLS.
    pub tls: bool,
    /// The sink hashes every body whose hash was signed.
    pub verify: bool,
    /// `worker.memory`; else as by default.
    pub memory: Option<String>,
    pub counter: Counter,
    /// A worker that is written by hand in Python is measured, too.
    pub python: bool,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self {
            cases: Vec::new(),
            one: false,
            idle: false,
            rounds: 1,
            tls: true,
            verify: false,
            memory: None,
            counter: Counter::None,
            python: false,
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "--bench" => {} // cargo's own
                "--plain" => options.tls = false,
                "--verify" => options.verify = true,
                "--python" => options.python = true,
                "--instructions" => options.counter = Counter::of_this_machine(),
                "--callgrind" => options.counter = Counter::Callgrind,
                "--memory" => options.memory = Some(arguments.next()?.to_owned()),
                "--rounds" => options.rounds = arguments.next()?.parse().ok().filter(|&n| n > 0)?,
                name if name == ONE.name => options.one = true,
                IDLE => options.idle = true,
                name => options.cases.push(*CASES.iter().find(|case| case.name == name)?),
            }
        }
        if options.cases.is_empty() && !options.one && !options.idle {
            (options.cases, options.one, options.idle) = (CASES.to_vec(), true, true);
        }
        if options.counter == Counter::Callgrind {
            // On a simulated processor times say nothing.
            (options.one, options.idle, options.python) = (false, false, false);
        }
        Some(options)
    }
}
