//! What is to be said of a row. Pure.

use crate::cli::compare::State;
use crate::event::Found;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Present,
    Partial,
    Missing,
    Empty,
    /// On its way, perhaps.
    Pending,
}

impl Verdict {
    /// `is_young`: whether its call ended so short a time ago that its recording may still come.
    pub fn of(state: State, is_young: impl Fn() -> bool) -> Self {
        match state {
            State::Present => Self::Present,
            // No worker leaves one behind, however young.
            State::Empty => Self::Empty,
            State::Partial | State::Missing if is_young() => Self::Pending,
            State::Partial => Self::Partial,
            State::Missing => Self::Missing,
        }
    }

    pub fn count(self, found: &mut Found) {
        *match self {
            Self::Present => &mut found.present,
            Self::Partial => &mut found.partial,
            Self::Missing => &mut found.missing,
            Self::Empty => &mut found.empty,
            Self::Pending => &mut found.pending,
        } += 1;
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Partial => "partial",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Pending => "pending",
        }
    }

    /// An empty object is in the way of another.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Partial | Self::Missing)
    }
}
