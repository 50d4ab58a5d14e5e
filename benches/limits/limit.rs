//! A limit and what was measured of it.

use std::fmt;

/// Bytes of a MiB.
pub const MEBIBYTE: f64 = 1_048_576.0;

/// What must hold, and what was seen.
pub struct Limit {
    what: String,
    measured: f64,
    bound: Bound,
    unit: &'static str,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub fn at_most(what: impl Into<String>, bound: f64, measured: f64, unit: &'static str) -> Self {
        Self { what: what.into(), measured, bound: Bound::AtMost(bound), unit }
    }

    pub fn at_least(
        what: impl Into<String>,
        bound: f64,
        measured: f64,
        unit: &'static str,
    ) -> Self {
        Self { what: what.into(), measured, bound: Bound::AtLeast(bound), unit }
    }

    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.measured <= most,
            Bound::AtLeast(least) => self.measured >= least,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, unit, .. } = self;
        let verdict = if self.holds() { "pass" } else { "FAIL" };
        let (sign, bound) = match self.bound {
            Bound::AtMost(most) => ("≤", most),
            Bound::AtLeast(least) => ("≥", least),
        };
        write!(f, "{verdict}  {what}: {measured:.2}{unit}, wanted {sign} {bound:.2}{unit}")
    }
}
