//! One beat for all that look around from time to time: a worker that rests is woken twice a second, and not by
//! each of them in turn.
//!
//! A timer of its own wakes the runtime twice, once on its way through the timer wheel.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const BEAT: Duration = Duration::from_millis(500);

/// The beat that is nearest to in so long; the next one at the soonest.
pub fn after(wait: Duration) -> Instant {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let began = *BEGAN;
    let since = Instant::now().saturating_duration_since(began);
    let beats = |time: Duration| time.as_millis() / BEAT.as_millis();
    let (nearest, next) = (beats(since + wait + BEAT / 2), beats(since + BEAT));
    began + BEAT * u32::try_from(nearest.max(next)).unwrap_or(u32::MAX)
}

/// Waits for that.
pub async fn rest(wait: Duration) {
    sleep_until(after(wait)).await;
}

/// Waits for the next one.
pub async fn next() {
    rest(Duration::ZERO).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_that_rest_are_woken_on_one_beat_and_after_as_long_as_they_wish() {
        let beat = after(Duration::ZERO);
        // Whoever has begun the beat may have looked at a clock that goes on.
        tokio::time::advance(BEAT).await;
        for wait in [0, 1, 300, 500, 6_000, 15_000].map(Duration::from_millis) {
            let (now, until) = (Instant::now(), after(wait));
            assert!(until > now && until - now <= wait.max(BEAT / 2) + BEAT / 2, "{wait:?}");
            assert!(until + BEAT / 2 >= now + wait, "{wait:?}");
            assert_eq!((until - beat).as_nanos() % BEAT.as_nanos(), 0, "{wait:?}");
            rest(wait).await;
            // Whoever goes on from a beat keeps to its own step.
            tokio::time::advance(Duration::from_millis(3)).await;
            let after_a_beat = after(Duration::from_secs(15));
            assert_eq!(after_a_beat - until, Duration::from_secs(15));
            tokio::time::advance(Duration::from_millis(120)).await;
        }
    }
}
