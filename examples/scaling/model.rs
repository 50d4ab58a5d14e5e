//! How much workers archive, and how long calls wait for it: a formula and a small simulation.
//!
//! Pure; docs/SCALING.md says where the numbers come from, and `make limits ARGS=scale` holds the
//! formula against what is measured.

/// What one recording takes.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    /// Seconds in which its job holds a place and waits for others: for the first byte of CC-FS, for
    /// the bytes on their way, for the store.
    pub waits: f64,
    /// Seconds of one core, of all that share the machine.
    pub cpu: f64,
}

/// Recordings a second of `places` jobs in flight on a machine with `cores`.
///
/// Jobs that wait do not disturb each other, those at work queue for the cores: the exact mean value
/// analysis of a closed network (Reiser and Lavenberg 1980) of a delay and one station, whose several
/// cores are one that is as fast, and the rest of the time as delay (Seidmann 1987). Few places give
/// `places / (waits + cpu)`, many `cores / cpu`; between them nobody need draw a line.
pub fn throughput(places: usize, recording: Recording, cores: f64) -> f64 {
    let turn = recording.cpu / cores;
    let delay = recording.waits + recording.cpu - turn;
    let (mut rate, mut ahead) = (0.0, 0.0);
    for jobs in 1..=places {
        let stay = turn * (1.0 + ahead);
        rate = jobs as f64 / (delay + stay);
        ahead = rate * stay;
    }
    rate
}

/// What a day brings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// The most messages that wait at once.
    pub backlog: f64,
    /// The longest that a call waits for its place, in seconds.
    pub lag: f64,
    /// Messages that wait still when it ends.
    pub left: f64,
}

/// A day second by second: `arrivals` calls a second, of which `rate` are archived.
///
/// The queue is first in, first out: a call waits until what stands before it is done.
pub fn day(arrivals: impl IntoIterator<Item = f64>, rate: f64) -> Day {
    let mut day = Day { backlog: 0.0, lag: 0.0, left: 0.0 };
    for calls in arrivals {
        day.left = (day.left + calls - rate).max(0.0);
        day.backlog = day.backlog.max(day.left);
    }
    day.lag = day.backlog / rate;
    day
}

/// Calls a second over a day of which one hour has the share `busiest`, its neighbours half of what
/// it has more than the mean, and all others the rest.
pub fn arrivals(calls: f64, busiest: f64) -> impl Iterator<Item = f64> {
    const BUSIEST_HOUR: usize = 10;
    let even = 1.0 / 24.0;
    let shoulder = even + (busiest - even) / 2.0;
    let rest = (1.0 - busiest - 2.0 * shoulder) / 21.0;
    (0..86_400).map(move |second| {
        let share = match (second / 3600_usize).abs_diff(BUSIEST_HOUR) {
            0 => busiest,
            1 => shoulder,
            _ => rest,
        };
        calls * share / 3600.0
    })
}
