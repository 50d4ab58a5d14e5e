//! What a terminal may be given.

use std::io::{self, IsTerminal};

/// Whether stdout is a terminal whose user wants colours (<https://no-color.org>).
pub fn wants_colours() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && io::stdout().is_terminal()
}

/// Strangers wrote it, and a terminal obeys control characters.
pub fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}
