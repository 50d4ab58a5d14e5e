//! One thing that `callvault check` has tried: what came of it, and what to do about it.
//!
//! A pure leaf: the modules that can be tried speak in it, and know nothing of how it is shown.

use serde::Serialize;

/// What was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A word or two: `login`, `conditional create`.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was seen, a sentence without secrets.
    pub seen: String,
    /// What to do about it, with the key to change where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What to run for it, a command each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Well,
    /// The worker can live with it; people should know.
    Note,
    Failed,
    /// Not tried, since something before it failed or nothing asks for it.
    Skipped,
}

impl Finding {
    pub fn well(check: &'static str, seen: impl Into<String>) -> Self {
        let seen = seen.into();
        Self { check, verdict: Verdict::Well, seen, advice: None, commands: Vec::new() }
    }

    pub fn note(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, advice: Some(advice.into()), ..Self::well(check, seen) }
    }

    pub fn failed(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, advice: Some(advice.into()), ..Self::well(check, seen) }
    }

    /// `place` is asked without TLS, and is not this machine: `what` can be read on its way.
    /// `allowed`: it says so in the configuration.
    pub fn in_the_clear(place: &str, what: &str, allowed: bool, advice: &str) -> Self {
        const CHECK: &str = "secrecy";
        if allowed {
            let seen = format!("{place} is asked without TLS, as allow_plain allows");
            return Self::well(CHECK, seen);
        }
        let seen = format!("{place} is asked without TLS: {what} can be read on their way");
        Self::note(CHECK, seen, format!("{advice}; where it is meant, allow_plain = true"))
    }

    /// The same, with what to run.
    pub fn running(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    pub fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::well(check, why) }
    }
}
