//! The numbers of an audit for the textfile collector of Prometheus' node exporter.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::Target;
use super::end::End;
use crate::cli::Error;
use crate::cli::whole::{folder_of, write_whole};
use crate::clock;
use crate::event::Found;

/// Prometheus reads it as another user.
const MODE: u32 = 0o644;

/// Tries whether the file can be written, long before it is; leaves nothing behind.
///
/// # Errors
/// It cannot: a mistake in the command line.
pub fn try_out(path: &Path) -> Result<(), Error> {
    let refused = |why: String| {
        let name = path.display();
        Error::Setup(format!(
            "--textfile {name}: {why}; name a file in a folder that can be written"
        ))
    };
    if path.is_dir() {
        return Err(refused("is a folder".to_owned()));
    }
    tempfile::tempfile_in(folder_of(path)).map(drop).map_err(|error| refused(error.to_string()))
}

/// Writes it whole.
///
/// # Errors
/// It cannot be written; what was there is there still.
pub(super) fn write(path: &Path, targets: &[Target<'_>], ends: &[End]) -> Result<(), Error> {
    let tenants: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(whose, target)| Tenant::of(target, ends.iter().filter(|end| end.whose == whose)))
        .collect();
    let days = targets.iter().map(|target| target.days.len()).max().unwrap_or_default();
    let text = text(clock::now().as_second(), days, &tenants);
    write_whole(path, MODE, |file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::Unwritten { path: path.to_owned(), error })
}

/// What is told of a tenant: all its days together.
struct Tenant<'a> {
    id: &'a str,
    indexed: bool,
    found: Found,
}

impl<'a> Tenant<'a> {
    fn of<'b>(target: &'a Target<'_>, ends: impl Iterator<Item = &'b End>) -> Self {
        let mut tenant = Self { id: target.id().as_str(), indexed: true, found: Found::default() };
        for end in ends {
            match &end.came {
                Ok(done) => tenant.found.add(&done.found),
                Err(_) => tenant.indexed = false,
            }
        }
        tenant
    }
}

fn text(now: i64, days: usize, tenants: &[Tenant<'_>]) -> String {
    let mut text = String::new();
    let mut series = |name: &str, help: &str, lines: &mut dyn Iterator<Item = String>| {
        // A string takes whatever is written.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        lines.for_each(|line| text += &format!("{name}{line}\n"));
    };
    let of = |tenant: &Tenant<'_>| format!("tenant=\"{}\"", tenant.id);
    series(
        "callvault_audit_timestamp_seconds",
        "When the last audit ended, in seconds since the epoch.",
        &mut std::iter::once(format!(" {now}")),
    );
    series(
        "callvault_audit_days",
        "Days that the last audit was to look at, a tenant.",
        &mut std::iter::once(format!(" {days}")),
    );
    series(
        "callvault_audit_indexed",
        "1 if the index of every day could be had and was held against the bucket.",
        &mut tenants
            .iter()
            .map(|tenant| format!("{{{}}} {}", of(tenant), u8::from(tenant.indexed))),
    );
    series(
        "callvault_audit_recordings",
        "Rows of the indexes, by what the bucket has of them.",
        &mut tenants.iter().flat_map(|tenant| {
            let Found { present, partial, missing, empty, pending, bad, .. } = tenant.found;
            let states = [
                ("present", present),
                ("partial", partial),
                ("missing", missing),
                ("empty", empty),
                ("pending", pending),
                ("bad", bad),
            ];
            let of = of(tenant);
            states.map(|(state, count)| format!("{{{of},state=\"{state}\"}} {count}"))
        }),
    );
    series(
        "callvault_audit_asked",
        "Recordings that the last audit asked for.",
        &mut tenants.iter().map(|tenant| format!("{{{}}} {}", of(tenant), tenant.found.enqueued)),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_shown_and_so_is_who_failed() {
        let found = Found { rows: 9, present: 7, missing: 2, enqueued: 1, ..Found::default() };
        let tenants = [
            Tenant { id: "acme", indexed: true, found },
            Tenant { id: "globex", indexed: false, found: Found::default() },
        ];
        insta::assert_snapshot!(text(1_777_093_663, 3, &tenants), @r#"
        # HELP callvault_audit_timestamp_seconds When the last audit ended, in seconds since the epoch.
        # TYPE callvault_audit_timestamp_seconds gauge
        callvault_audit_timestamp_seconds 1777093663
        # HELP callvault_audit_days Days that the last audit was to look at, a tenant.
        # TYPE callvault_audit_days gauge
        callvault_audit_days 3
        # HELP callvault_audit_indexed 1 if the index of every day could be had and was held against the bucket.
        # TYPE callvault_audit_indexed gauge
        callvault_audit_indexed{tenant="acme"} 1
        callvault_audit_indexed{tenant="globex"} 0
        # HELP callvault_audit_recordings Rows of the indexes, by what the bucket has of them.
        # TYPE callvault_audit_recordings gauge
        callvault_audit_recordings{tenant="acme",state="present"} 7
        callvault_audit_recordings{tenant="acme",state="partial"} 0
        callvault_audit_recordings{tenant="acme",state="missing"} 2
        callvault_audit_recordings{tenant="acme",state="empty"} 0
        callvault_audit_recordings{tenant="acme",state="pending"} 0
        callvault_audit_recordings{tenant="acme",state="bad"} 0
        callvault_audit_recordings{tenant="globex",state="present"} 0
        callvault_audit_recordings{tenant="globex",state="partial"} 0
        callvault_audit_recordings{tenant="globex",state="missing"} 0
        callvault_audit_recordings{tenant="globex",state="empty"} 0
        callvault_audit_recordings{tenant="globex",state="pending"} 0
        callvault_audit_recordings{tenant="globex",state="bad"} 0
        # HELP callvault_audit_asked Recordings that the last audit asked for.
        # TYPE callvault_audit_asked gauge
        callvault_audit_asked{tenant="acme"} 1
        callvault_audit_asked{tenant="globex"} 0
        "#);
    }
}
