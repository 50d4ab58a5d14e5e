//! CC-FS answers wrongly, slowly or not at all: for a while, or to some recordings for good.

mod damaged;
mod slow;

use fastrand::Rng;
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

use crate::support::ccfs::{Framing, Recording, Reply, Sizes};
use crate::support::world::TENANTS;

use super::super::Scenario;
use super::super::field::Field;
use super::super::ledger::{CALL_END, Call};

pub const ALL: [Scenario; 9] = [
    Scenario {
        name: "ccfs-truncated",
        about: "recordings are cut or reset somewhere, in each framing, a while or for good",
        short: true,
        run: |field, rng| truncated(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-wrong",
        about: "wrong lengths, gzip, HTML, redirects, errors, a while or for good",
        short: true,
        run: |field, rng| wrong(field, rng).boxed_local(),
    },
    Scenario {
        name: "source-damaged",
        about: "recordings that CC-FS itself has damaged, a while or for good; a worker dies",
        short: true,
        run: |field, rng| damaged::at_the_source(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-codes",
        about: "JSON under status 200 with result codes of every class",
        short: false,
        run: |field, rng| codes(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-stalled",
        about: "CC-FS falls silent before or within an answer, a while or for good",
        short: false,
        run: |field, rng| slow::stalled(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-dripping",
        about: "recordings come in drops; some would take longer than a job may",
        short: false,
        run: |field, rng| slow::dripping(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-clock",
        about: "the clock of CC-FS is off: 401 to everything, several times",
        short: false,
        run: |field, rng| slow::clock(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-down",
        about: "CC-FS is down for a minute: refuses, then says nothing",
        short: false,
        run: |field, rng| slow::down(field, rng).boxed_local(),
    },
    Scenario {
        name: "ccfs-1-gib",
        about: "a recording of 1 GiB, in chunks, of which the first try is cut",
        short: false,
        run: |field, rng| slow::gibibyte(field, rng).boxed_local(),
    },
];

/// Faults that stay kill their messages soon; and being some recordings' alone, they are no outage.
const MORTAL: [(&str, &str); 2] =
    [("retry", "max_attempts = 6"), ("retry", "breaker_failures = 100000")];
/// More than the parts of [`Field`]'s configuration.
const PART: u64 = 5 << 20;

/// A call that gets some wrong answers before its recording.
fn heals(
    field: &Field,
    rng: &mut Rng,
    wrong: impl IntoIterator<Item = Reply>,
    (whole, extension): (Reply, &'static str),
) -> Call {
    let id = field.call_id("s");
    field.world.ccfs.script(&id, wrong.into_iter().chain([whole]));
    let content = field.world.ccfs.expected(&id);
    Call::archived(TENANTS[rng.usize(..2)], id, content).extension(extension)
}

/// A call that gets no other answer.
fn stays(field: &Field, rng: &mut Rng, wrong: Reply, reason: &'static str) -> Call {
    let id = field.call_id("s");
    field.world.ccfs.script(&id, [wrong]);
    Call::dead(TENANTS[rng.usize(..2)], id, reason)
}

fn small(rng: &mut Rng) -> (Reply, &'static str) {
    (Reply::wav(rng.u64(400..32_000)), "wav")
}

async fn truncated(field: &Field, mut rng: Rng) -> String {
    field.configure(&MORTAL).await;
    field.start_workers(2).await;
    let mut calls = Vec::new();
    for round in 0..field.scale.of(40) {
        for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
            let mut wholes = vec![small(&mut rng), (Reply::zip([9000, 400]), "zip")];
            let unproven = [
                (Reply::recording(Recording::wav(9000).sizes(Sizes::Zero)), "wav"),
                (Reply::recording(Recording::raw(9000)), "bin"),
            ];
            match framing {
                // Nothing shows whether they are whole.
                Framing::Close => {
                    calls.extend(unproven.map(|(whole, _)| {
                        stays(field, &mut rng, whole.framing(framing), "ccfs.truncated")
                    }));
                }
                _ => wholes.extend(unproven),
            }
            if round % 10 == 0 {
                wholes.push((Reply::wav(rng.u64(PART + 1..2 * PART)), "wav"));
            }
            for (whole, extension) in wholes {
                calls.push(cut(field, &mut rng, whole.framing(framing), extension));
            }
        }
    }
    field.work_off(&calls).await;
    format!("{} recordings", calls.len())
}

fn cut(field: &Field, rng: &mut Rng, whole: Reply, extension: &'static str) -> Call {
    let length = whole.content("").length();
    let at = |rng: &mut Rng| match rng.u32(..4) {
        0 => length - 1,
        1 if length > PART => PART,
        _ => rng.u64(1..length),
    };
    if rng.u32(..4) == 0 {
        let at = at(rng);
        return stays(field, rng, whole.cut_at(at), "ccfs.truncated");
    }
    let cuts: Vec<_> = (0..rng.u32(1..=3))
        .map(|_| match at(rng) {
            at if rng.bool() => whole.clone().cut_at(at),
            at => whole.clone().reset_at(at),
        })
        .collect();
    heals(field, rng, cuts, (whole, extension))
}

/// An answer that is not the recording, and the reason it dies for if it stays; without one it is
/// nobody's fault: it is waited for.
type Wrong = (fn() -> Reply, Option<&'static str>);

const WRONG: [Wrong; 18] = [
    (|| Reply::wav(20_000).declared_length(30_000), Some("ccfs.truncated")),
    (|| Reply::wav(20_000).declared_length(6 << 30), Some("ccfs.too_large")),
    (|| Reply::empty(), Some("ccfs.empty")),
    (|| Reply::wav(9000).header("Content-Encoding", "gzip"), Some("ccfs.protocol")),
    (|| Reply::text("no such file"), Some("ccfs.protocol")),
    (|| Reply::json("{\"resultCode\":\"03000"), Some("ccfs.protocol")),
    (|| Reply::redirect("/elsewhere"), Some("ccfs.http_302")),
    (|| Reply::wav(9000).with_status(206), Some("ccfs.http_206")),
    (|| Reply::html(404), Some("ccfs.http_404")),
    (|| Reply::wav(9000).with_status(500), Some("ccfs.http_500")),
    (|| Reply::html(503), Some("ccfs.http_503")),
    (Reply::close, Some("ccfs.unreachable")),
    (|| Reply::garbage(b"220 mail.example.com ESMTP\r\n"), Some("ccfs.protocol")),
    (|| Reply::html(200), None),
    (|| Reply::html(403), None),
    (|| Reply::status(418), None),
    (|| Reply::status(429), None),
    (|| Reply::status(502), None),
];

async fn wrong(field: &Field, mut rng: Rng) -> String {
    field.configure(&MORTAL).await;
    field.start_workers(2).await;
    let mut calls = Vec::new();
    for (reply, reason) in WRONG {
        // What can never be well is not tried again.
        let mortal = reason == Some("ccfs.too_large");
        for _ in 0..field.scale.of(12) {
            let (times, whole) = (rng.usize(1..=3), small(&mut rng));
            if let Some(reason) = reason.filter(|_| mortal || rng.u32(..4) == 0) {
                calls.push(stays(field, &mut rng, reply(), reason));
            } else {
                let wrong = std::iter::repeat_with(reply).take(times);
                calls.push(heals(field, &mut rng, wrong, whole));
            }
        }
    }
    rng.shuffle(&mut calls);
    field.work_off(&calls).await;
    format!("{} answers, {} recordings", WRONG.len(), calls.len())
}

async fn codes(field: &Field, mut rng: Rng) -> String {
    /// Dead at once, whatever CC-FS would say next.
    const PERMANENT: [&str; 10] = [
        "ccfs.0300001",
        "ccfs.0300002",
        "ccfs.0300003",
        "ccfs.0300004",
        "ccfs.0300005",
        "ccfs.0300006",
        "ccfs.0300007",
        "ccfs.0300010",
        "ccfs.0300013",
        "ccfs.0300028",
    ];
    /// Tries that count, whether the table has the code or not.
    const FAILED: [(&str, &str); 4] = [
        ("0399999", "ccfs.0399999"),
        ("7", "ccfs.7"),
        ("0", "ccfs.protocol"),
        ("0100000", "ccfs.protocol"),
    ];
    /// More often than a message has attempts: none of these counts.
    const PATIENT: usize = 8;
    /// When CC-FS will be believed that it has none.
    const WINDOW: SignedDuration = SignedDuration::from_secs(25);
    let end: Timestamp = CALL_END.parse().expect("RFC 3339");
    let window = callvault::clock::now().duration_since(end) + WINDOW;
    let window = format!("not_ready_window = \"{}s\"", window.as_secs());
    field.configure(&[MORTAL[0], MORTAL[1], ("retry", &window)]).await;
    field.start_workers(2).await;
    let answer = |code: &str, rng: &mut Rng| match rng.bool() {
        true => Reply::code(code),
        false => Reply::inner_code(code),
    };
    let mut calls = Vec::new();
    for _ in 0..field.scale.of(4) {
        for reason in PERMANENT {
            let id = field.call_id("s");
            let code = answer(reason.trim_start_matches("ccfs."), &mut rng);
            field.world.ccfs.script(&id, [code, Reply::wav(9000)]);
            calls.push(Call::dead(TENANTS[rng.usize(..2)], id, reason));
        }
        for (code, reason) in FAILED {
            let wrong = vec![answer(code, &mut rng); rng.usize(1..=3)];
            let whole = small(&mut rng);
            calls.push(heals(field, &mut rng, wrong, whole));
            let wrong = answer(code, &mut rng);
            calls.push(stays(field, &mut rng, wrong, reason));
        }
        for code in ["0300008", "0300009", "0300011", "0300012"] {
            let wrong = vec![answer(code, &mut rng); PATIENT];
            let whole = small(&mut rng);
            calls.push(heals(field, &mut rng, wrong, whole));
        }
        for code in ["0300011", "0300012"] {
            let id = field.call_id("s");
            field.world.ccfs.script(&id, [answer(code, &mut rng)]);
            calls.push(Call::absent(TENANTS[rng.usize(..2)], id));
        }
    }
    rng.shuffle(&mut calls);
    field.work_off(&calls).await;
    format!("{} recordings", calls.len())
}
