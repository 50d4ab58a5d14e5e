//! What the process itself costs: the client library's own collector, but for the CPU seconds.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

/// The series that the library counts in whole seconds: a rate over a minute is a staircase then.
const CPU: &str = "process_cpu_seconds_total";

/// Ticks of a second in `/proc/PID/stat`: `USER_HZ`, which is part of Linux's interface.
const TICKS: f64 = 100.0;

/// Collects the series of this process.
pub(super) struct Process(ProcessCollector);

impl Process {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Without it the whole seconds stand.
        let Some(seconds) = cpu_seconds(&stat) else { return families };
        for family in families.iter_mut().filter(|family| family.name() == CPU) {
            for metric in family.mut_metric() {
                let mut counter = Counter::default();
                counter.set_value(seconds);
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// User and system time of `/proc/PID/stat` (proc(5), fields 14 and 15).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name of the program in parentheses, whatever that is.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_seconds_have_their_fraction() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 1 0 123 4 9 9 20 0 5 0 100 1 2";
        assert_eq!(cpu_seconds(stat), Some(1.27));
        for bad in ["", "7 (a) S", "7 (a) S 1 7 7 0 -1 4194560 100 0 1 0 x 4"] {
            assert_eq!(cpu_seconds(bad), None, "{bad}");
        }
        let collected = || {
            let families = Process::new().collect();
            let family = families.iter().find(|family| family.name() == CPU);
            family.expect("it is there").get_metric()[0].get_counter().get_value()
        };
        // Nobody else can make the time pass that is counted here: it does as long as it is asked for.
        // A tick is 10 ms; by the bound, seconds have gone.
        assert!((0..1_000_000).any(|_| collected().fract() != 0.0), "whole seconds alone");
    }
}
