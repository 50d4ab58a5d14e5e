//! Families that are written here, not by the client library: those of a thousand tenants are tens of
//! thousands of lines, each of which the library makes of half a dozen strings of its own.

use std::fmt::{Display, Write as _};

/// A family by its name, as the text format of Prometheus knows it.
pub(super) struct Family {
    pub name: &'static str,
    pub help: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
}

/// A label and its value. Values are ids and members of closed sets: there is nothing to escape.
pub(super) type Label<'a> = (&'static str, &'a str);

impl Family {
    /// What stands before its series.
    pub(super) fn open(&self, text: &mut String) {
        let Self { name, help, kind } = self;
        put(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One series.
    pub(super) fn series(&self, text: &mut String, labels: &[Label], value: impl Display) {
        self.suffixed(text, "", labels, value);
    }

    /// One series of a histogram: `_bucket`, `_sum` or `_count`.
    pub(super) fn suffixed(
        &self,
        text: &mut String,
        suffix: &str,
        labels: &[Label],
        value: impl Display,
    ) {
        text.push_str(self.name);
        text.push_str(suffix);
        for (at, (label, of)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            for part in [label, "=\"", of, "\""] {
                text.push_str(part);
            }
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        put(text, format_args!("{value}\n"));
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_as_the_format_wants_it() {
        let family = Family { name: "calls_total", help: "Calls.", kind: "counter" };
        let mut text = String::new();
        family.open(&mut text);
        family.series(&mut text, &[], 1);
        family.series(&mut text, &[("code", "ok"), ("tenant", "acme")], 2);
        family.suffixed(&mut text, "_sum", &[("tenant", "acme")], 0.5);
        let wanted = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total 1\n\
                      calls_total{code=\"ok\",tenant=\"acme\"} 2\ncalls_total_sum{tenant=\"acme\"} 0.5\n";
        assert_eq!(text, wanted);
    }
}
