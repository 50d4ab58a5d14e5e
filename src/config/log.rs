//! `[log]`.

use tracing_subscriber::EnvFilter;

use super::effective::quoted;
use super::mistake::Wrong;
use super::section::Section;

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    pub format: LogFormat,
    /// An `EnvFilter` directive.
    pub level: String,
    pub identifiers: LogIdentifiers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How call ids, file names and keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogIdentifiers {
    Plain,
    Hashed,
}

pub(super) fn read(s: &mut Section<'_, '_>) -> Option<Log> {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = s.choice("format", "text", &formats);
    let level = s.text("level", Some("info"), filter);
    let identifiers = [("plain", LogIdentifiers::Plain), ("hashed", LogIdentifiers::Hashed)];
    let identifiers = s.choice("identifiers", "plain", &identifiers);
    Some(Log { format: format?, level: level?, identifiers: identifiers? })
}

fn filter(text: &str) -> Result<String, Wrong> {
    let fix = "write a level (trace, debug, info, warn, error, off) or target=level, with commas";
    let wrong = || Wrong::new(format!("{} is no log filter", quoted(text)), fix);
    EnvFilter::try_new(text).map_err(|_| wrong())?;
    // A bare word that is no level counts as a target: `inof` would silence everything else.
    let slip = |word: &str| {
        let word = word.trim().to_ascii_lowercase();
        !LEVELS.contains(&word.as_str())
            && LEVELS.iter().any(|level| strsim::damerau_levenshtein(level, &word) <= 2)
    };
    let slipped = text.split(',').any(|word| word.trim().len() > 2 && slip(word));
    if text.trim().is_empty() || slipped {
        return Err(wrong());
    }
    Ok(text.to_owned())
}
