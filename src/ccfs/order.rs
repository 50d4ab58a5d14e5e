//! In which order endpoints are asked: as configured, but for a while the last that could be
//! reached comes first. Pure.
//!
//! Without it every request of an outage waits `ccfs.connect_timeout` for the first endpoint.

use tokio::time::{Duration, Instant};

/// For how long the endpoint that stood in is asked first.
const PREFERRED: Duration = Duration::from_secs(30);

/// What is known of a client's endpoints, which go by their place in the configuration.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The one that stands in for those before it, and since when it is known to.
    stand_in: Option<(usize, Instant)>,
}

impl Order {
    /// The places of `count` endpoints, as one request is to ask them. When the time of the one
    /// that stands in is over, a single request finds out whether it still has to.
    pub fn at(&mut self, now: Instant, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = match &mut self.stand_in {
            Some((place, since)) if now.duration_since(*since) < PREFERRED => Some(*place),
            Some((_, since)) => {
                *since = now;
                None
            }
            None => None,
        };
        first.into_iter().chain((0..count).filter(move |place| Some(*place) != first))
    }

    /// The endpoint at `place` could be reached, and those `tried` before it could not.
    pub fn reached(&mut self, place: usize, tried: &[usize], now: Instant) {
        self.stand_in = match self.stand_in {
            _ if place == 0 => None,
            // It is asked first, and nothing is known of those that come before it.
            Some(known) if known.0 == place && tried.is_empty() => Some(known),
            _ => Some((place, now)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(order: &mut Order, now: Instant) -> Vec<usize> {
        order.at(now, 3).collect()
    }

    #[test]
    fn the_last_that_could_be_reached_comes_first_for_a_while() {
        let (mut order, start) = (Order::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(places(&mut order, start), [0, 1, 2]);
        order.reached(1, &[0], start);
        assert_eq!(places(&mut order, start), [1, 0, 2]);
        order.reached(1, &[], after(29));
        assert_eq!(places(&mut order, after(29)), [1, 0, 2]);
        // One asks in order, the others wait for what it finds.
        assert_eq!(places(&mut order, after(30)), [0, 1, 2]);
        assert_eq!(places(&mut order, after(31)), [1, 0, 2]);
        order.reached(1, &[0], after(35));
        assert_eq!(places(&mut order, after(64)), [1, 0, 2]);
        assert_eq!(places(&mut order, after(65)), [0, 1, 2]);
        order.reached(0, &[], after(65));
        assert_eq!(places(&mut order, after(66)), [0, 1, 2]);
    }

    #[test]
    fn another_stands_in_where_the_first_of_them_is_gone_too() {
        let (mut order, now) = (Order::default(), Instant::now());
        order.reached(1, &[0], now);
        order.reached(2, &[1, 0], now);
        assert_eq!(places(&mut order, now), [2, 0, 1]);
        // A late answer of one that was asked before.
        order.reached(0, &[], now);
        assert_eq!(places(&mut order, now), [0, 1, 2]);
    }
}
