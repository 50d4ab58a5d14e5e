//! A figure of the worker's, beside the bare loop's, and what is wanted of it.

use std::fmt;

/// What a case has come to in a round.
pub struct Measured {
    pub case: &'static str,
    pub recordings: usize,
    /// Of all recordings.
    pub bytes: u64,
    pub figures: Vec<Figure>,
}

#[derive(Clone, Copy)]
pub struct Figure {
    /// For machines.
    pub key: &'static str,
    /// For people.
    pub label: &'static str,
    pub worker: f64,
    pub floor: Option<f64>,
    /// The first over the second.
    pub ratio: Option<f64>,
    pub wanted: Option<Bound>,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtMost(f64),
    /// As a multiple of the bare loop's.
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

impl Figure {
    pub fn of_both(key: &'static str, label: &'static str, worker: f64, floor: f64) -> Self {
        let (floor, ratio) = (Some(floor), Some(worker / floor));
        Self { key, label, worker, floor, ratio, wanted: None }
    }

    /// Of what the bare loop has no like.
    pub fn of_worker(key: &'static str, label: &'static str, worker: f64) -> Self {
        Self { key, label, worker, floor: None, ratio: None, wanted: None }
    }

    pub fn wanted(self, wanted: Option<Bound>) -> Self {
        Self { wanted, ..self }
    }

    /// Nothing, where nothing is wanted.
    pub fn holds(&self) -> Option<bool> {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        Some(match self.wanted? {
            Bound::AtMost(most) => self.worker <= most,
            Bound::RatioAtMost(most) => ratio <= most,
            Bound::RatioAtLeast(least) => ratio >= least,
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) if *most < 1.0 => write!(f, "≤ {most:.2}"),
            Self::AtMost(most) => write!(f, "≤ {most:.0}"),
            Self::RatioAtMost(most) => write!(f, "≤ {most:.2} ×"),
            Self::RatioAtLeast(least) => write!(f, "≥ {least:.2} ×"),
        }
    }
}
