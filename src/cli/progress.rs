//! How far a long command has come: a bar on a terminal, plain lines elsewhere; on stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// How often a bar is drawn, and how often a line is written.
const DRAW_EVERY: Duration = Duration::from_millis(100);
const WRITE_EVERY: Duration = Duration::from_secs(10);

pub struct Progress {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    /// What is counted: `rows`, `put back`.
    what: &'static str,
    /// What `read` comes to at the end, where that is known.
    size: Option<u64>,
    began: Instant,
    told: Instant,
}

impl Progress {
    pub fn new(what: &'static str, size: Option<u64>) -> Self {
        // Where none can be drawn (TERM=dumb, or no TERM) there are lines.
        let bar = io::stderr().is_terminal().then(|| bar(size)).filter(|bar| !bar.is_hidden());
        let now = Instant::now();
        Self { bar, what, size, began: now, told: now }
    }

    /// So many are done, with so much of the size read.
    pub fn at(&mut self, count: u64, read: u64) {
        let every = if self.bar.is_some() { DRAW_EVERY } else { WRITE_EVERY };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let done = format!("{count} {}", self.what);
        let text = done + &told(count, read, self.size, self.began.elapsed());
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.set_position(read);
            }
            None => self.say(&text),
        }
    }

    /// A line that stays, above the bar.
    pub fn say(&self, line: &str) {
        let write = || {
            // Nobody is left to be told that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{line}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away; as an error does, by dropping it.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a command waits for: one line that changes on a terminal; lines elsewhere, not many.
pub struct Waits {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Waits {
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(None)).filter(|bar| !bar.is_hidden());
        if let Some(bar) = &bar {
            // One line, however narrow the terminal.
            bar.set_style(style("{spinner} {wide_msg}"));
            bar.enable_steady_tick(DRAW_EVERY);
        }
        Self { bar, told: Mutex::new(Instant::now()) }
    }

    pub fn say(&self, line: &str) {
        if let Some(bar) = &self.bar {
            return bar.set_message(line.to_owned());
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= WRITE_EVERY {
            *told = Instant::now();
            // Nobody is left to be told that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Takes the line away; as an error does, by dropping it.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {percent:>3} %  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(style(template))
}

fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}

/// Rate, and time left as far as the past tells it.
fn told(count: u64, read: u64, size: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut text = format!(", {:.0}/s", count as f64 / seconds);
    if let Some(size) = size.filter(|_| read > 0) {
        let left = seconds * size.saturating_sub(read) as f64 / read as f64;
        let (minutes, seconds) = (left as u64 / 60, left as u64 % 60);
        text += &match minutes {
            0 => format!(", {seconds} s left"),
            1..60 => format!(", {minutes} min {seconds} s left"),
            _ => format!(", {} h {} min left", minutes / 60, minutes % 60),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_told() {
        let at = |read, size, seconds| told(5000, read, size, Duration::from_secs(seconds));
        assert_eq!(at(10, None, 10), ", 500/s");
        assert_eq!(at(0, Some(100), 10), ", 500/s");
        assert_eq!(at(50, Some(100), 10), ", 500/s, 10 s left");
        assert_eq!(at(10, Some(100), 10), ", 500/s, 1 min 30 s left");
        assert_eq!(at(1, Some(1000), 10), ", 500/s, 2 h 46 min left");
        assert_eq!(at(100, Some(100), 0), ", 5000000/s, 0 s left");
    }
}
