//! Words of a POSIX shell, for the commands that people are given. Pure.

/// As one word, in quotes.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As one word, in quotes only where it needs them.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_stands_in_quotes() {
        for (text, written) in [
            ("callvault.jobs", "callvault.jobs"),
            ("/", "/"),
            ("", "''"),
            ("call.completed.#", "'call.completed.#'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(word(text), written);
        }
        assert_eq!(quoted("jobs"), "'jobs'");
    }
}
