//! The end of the play, for reading.

use std::path::Path;
use std::time::Duration;

use crate::keep;
use crate::outcome::{Outcome, Stored, Sum, ledger};
use crate::parts::{BUCKET, Parts, shown};
use crate::screen::{Screen, Tone, size};
use crate::script::TENANTS;
use crate::watch::Event;

/// Ordinary objects that are listed of each tenant, besides those with a story.
const ORDINARY: usize = 5;

/// What came of the afternoon.
pub fn show(screen: &Screen, outcome: &Outcome) {
    bucket(screen, outcome);
    events(screen, outcome);
    dead_letters(screen, outcome);
    totals(screen, outcome);
}

/// When all has been seen.
pub fn close(screen: &Screen, parts: &Parts, outcome: &Outcome) {
    whereabouts(screen, parts);
    verdict(screen, outcome);
}

fn bucket(screen: &Screen, outcome: &Outcome) {
    let all: u64 = outcome.objects.iter().map(|object| object.size).sum();
    let count = outcome.objects.len();
    screen.heading(&format!("In the bucket {BUCKET}: {count} objects, {}", size(all)));
    let head = format!("  {:<58}{:>10}  {:<10}{:>8}", "key", "size", "sha256", "duration");
    println!("{}", screen.paint(Tone::Dim, head));
    for tenant in TENANTS {
        let own = outcome.objects.iter().filter(|object| object.tenant == tenant);
        let (mut ordinary, mut more) = (0, Vec::new());
        for object in own {
            ordinary += usize::from(object.note.is_empty());
            if object.note.is_empty() && ordinary > ORDINARY {
                more.push(object.size);
            } else {
                println!("{}", row(screen, object));
            }
        }
        let rest =
            format!("  {tenant}/… and {} more like these, {}", more.len(), size(more.iter().sum()));
        println!("{}", screen.paint(Tone::Dim, rest));
    }
}

fn row(screen: &Screen, object: &Stored) -> String {
    let (key, bytes, hash) = (&object.key, size(object.size), &object.sha256[..8]);
    let duration = object.duration.map_or("–".to_owned(), minutes);
    let note = screen.paint(Tone::Dim, object.note);
    let line = format!("  {key:<58}{bytes:>10}  {hash:<10}{duration:>8}  {note}");
    line.trim_end().to_owned()
}

/// `1:05`.
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn events(screen: &Screen, outcome: &Outcome) {
    screen.heading(&format!("Events: {}", outcome.seen.events.len()));
    for (kind, count) in outcome.events_by_type() {
        println!("  {count:>4}  {kind}");
    }
    let with_audio = |event: &&Event| !event.json["data"]["objects"][0]["audio"].is_null();
    if let Some(event) = outcome.seen.events.iter().find(with_audio) {
        println!("{}", screen.paint(Tone::Dim, "  one of them, whole:"));
        indented(&event.text).lines().for_each(|line| println!("    {line}"));
    }
}

/// Compact JSON on many lines, its fields in the order they came in.
fn indented(json: &str) -> String {
    let (mut text, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for c in json.chars() {
        let newline = |depth: usize| format!("\n{:1$}", "", 2 * depth);
        match c {
            _ if quoted => text.push(c),
            '{' | '[' => {
                depth += 1;
                text += &format!("{c}{}", newline(depth));
            }
            '}' | ']' => {
                depth -= 1;
                text += &format!("{}{c}", newline(depth));
            }
            ',' => text += &format!(",{}", newline(depth)),
            ':' => text += ": ",
            _ => text.push(c),
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    text
}

fn dead_letters(screen: &Screen, outcome: &Outcome) {
    screen.heading(&format!("Dead letters: {}", outcome.dead.len()));
    for letter in &outcome.dead {
        let reason = screen.paint(Tone::Bad, format!("{:<16}", letter.reason));
        let name = letter.name.as_deref().unwrap_or("–");
        let tries = if letter.attempts == "1" { "try" } else { "tries" };
        println!("  {:<8}{name:<20}{reason}after {} {tries}", letter.tenant, letter.attempts);
        println!("{:10}{}", "", screen.paint(Tone::Dim, &letter.detail));
    }
}

fn totals(screen: &Screen, outcome: &Outcome) {
    let seconds = outcome.seen.took.as_secs();
    screen.heading(&format!("Totals, after {seconds} s"));
    let head: String = TENANTS.iter().map(|tenant| format!("{tenant:>8}")).collect();
    println!("{}", screen.paint(Tone::Dim, format!("  {:<14}{head}{:>8}", "", "all")));
    let line = |name: &str, of: &dyn Fn(&Sum) -> u64| {
        let counts = TENANTS.map(|tenant| of(&outcome.sums[tenant]));
        let columns: String = counts.iter().map(|count| format!("{count:>8}")).collect();
        println!("  {name:<14}{columns}{:>8}", counts.iter().sum::<u64>());
    };
    line("asked for", &|sum| sum.asked as u64);
    line("archived", &|sum| sum.archived as u64);
    line("absent", &|sum| sum.absent as u64);
    line("dead", &|sum| sum.dead as u64);
    line("tried again", &|sum| sum.retried);
    let [received, acknowledged, given_back, in_flight] = ledger(&outcome.seen.status);
    println!(
        "  messages: {received} received = {acknowledged} acknowledged + {given_back} given back \
         + {in_flight} in flight"
    );
}

fn whereabouts(screen: &Screen, parts: &Parts) {
    screen.heading("Where to look");
    let base = format!("http://127.0.0.1:{}", parts.worker.port());
    let fleeting = if keep::wanted() { "" } else { "   while it runs: make demo KEEP=1" };
    println!("  page          {base}/{}", screen.paint(Tone::Dim, fleeting));
    println!("  metrics       {base}/metrics");
    let files = "callvault.toml, callvault.log, events.jsonl, dead.jsonl, bucket.txt";
    println!("  this run      {}: {files}", shown(&parts.folder));
}

fn verdict(screen: &Screen, outcome: &Outcome) {
    let asked: usize = outcome.sums.values().map(|sum| sum.asked).sum();
    if outcome.mistakes.is_empty() {
        let text = format!(
            "All {asked} are accounted for; every object is what CC-FS has sent, and all that it lists is \
             in the bucket."
        );
        println!("\n{} {text}", screen.paint(Tone::Good, "✓"));
        return;
    }
    println!("\n{} The sum does not add up:", screen.paint(Tone::Bad, "✗"));
    for mistake in &outcome.mistakes {
        println!("  {mistake}");
    }
}

/// Said when everything has been taken down.
pub fn goodbye(screen: &Screen, folder: &Path) {
    let text = format!("Stopped and removed; what stays is {}.", shown(folder));
    println!("{}", screen.paint(Tone::Dim, text));
}
