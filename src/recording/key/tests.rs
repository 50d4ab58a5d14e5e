use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::request::CallId;

const DEFAULT: &str = "{tenant}/{yyyy}/{mm}/{dd}/{name}.{ext}";
const NAMES_ON_BOTH_SIDES: &str = "{tenant} must not have names on both sides of it, in which dots \
    may stand too, or the keys of two tenants could meet; put a slash on one side of it, as in \
    {tenant}/{cc_id}.{name}";

/// Nothing is ahead of it.
const LATER: Timestamp = Timestamp::MAX;

fn wanted(call_id: &str, file_name: &str) -> Wanted {
    Wanted {
        call_id: CallId::new(call_id).ok(),
        file_name: FileName::new(file_name).ok(),
        call_end: Some("2026-04-25T05:12:44Z".parse().unwrap()),
        ..Wanted::default()
    }
}

fn name(call_id: &str, file_name: &str) -> String {
    locate(&wanted(call_id, file_name), &TimeZone::UTC, None, LATER).unwrap().name
}

fn key(template: &str, wanted: &Wanted, extension: &str) -> Result<String, Failure> {
    let place = locate(wanted, &TimeZone::UTC, None, LATER)?;
    let tenant = TenantId::new("acme").unwrap();
    let cc_id = CcId::new("c/1").unwrap();
    let template = KeyTemplate::parse(template).unwrap();
    let recording = Located { tenant: &tenant, cc_id: &cc_id, wanted, place: &place };
    template.key(recording, extension).map(|key| key.to_string())
}

#[test]
fn a_pattern_is_the_key_but_for_the_extension_and_a_day_is_what_it_begins_with() {
    let (tenant, cc_id) = (TenantId::new("acme").unwrap(), CcId::new("c/1").unwrap());
    let wanted = wanted("1-1", "X:/4/0/20260425/512/1.V3");
    let place = locate(&wanted, &TimeZone::UTC, None, LATER).unwrap();
    let recording = Located { tenant: &tenant, cc_id: &cc_id, wanted: &wanted, place: &place };
    let cases = [
        (DEFAULT, "acme/2026/04/25/1-1_X_4_0_20260425_512_1.*", "acme/2026/04/25/"),
        ("{ext}/{tenant}/{name}", "*/acme/1-1_X_4_0_20260425_512_1", ""),
        (
            "{tenant}/{cc_id}/{yyyy}-{mm}/{hh}/{dd}/{call_id}",
            "acme/c%2F1/2026-04/05/25/1-1",
            "acme/c%2F1/2026-04/",
        ),
        (
            "a/{tenant}/x{yyyy}{mm}{dd}.{name}-{ext}",
            "a/acme/x20260425.1-1_X_4_0_20260425_512_1-*",
            "a/acme/x20260425.",
        ),
        ("{tenant}/.{call_id}", "acme/.1-1", "acme/"),
    ];
    for (template, pattern, prefix) in cases {
        let keys = KeyTemplate::parse(template).unwrap();
        let found = keys.pattern(recording).unwrap();
        assert_eq!(found.as_str(), pattern);
        assert_eq!(found.stem(), pattern.strip_suffix(".*"));
        assert_eq!(found.with("v 3"), key(template, &wanted, "v 3").unwrap());
        assert_eq!(keys.day_prefix(&tenant, &cc_id, place.when), prefix);
        assert!(found.as_str().starts_with(prefix));
    }
    // Without a name in the template all that are asked for by file name would share a key.
    let nameless = KeyTemplate::parse("{tenant}/{call_id}.{ext}").unwrap();
    let by_file = Wanted { call_id: None, ..wanted.clone() };
    assert!(nameless.pattern(Located { wanted: &by_file, ..recording }).is_err());
}

#[test]
fn the_folder_of_an_unpacked_recording_is_its_key_without_the_extension() {
    let (tenant, cc_id) = (TenantId::new("acme").unwrap(), CcId::new("c/1").unwrap());
    let folder = |template: &str, call_id: &str| {
        let wanted = wanted(call_id, "");
        let place = locate(&wanted, &TimeZone::UTC, None, LATER).unwrap();
        let (tenant, cc_id) = (&tenant, &cc_id);
        let recording = Located { tenant, cc_id, wanted: &wanted, place: &place };
        KeyTemplate::parse(template).unwrap().folder(recording)
    };
    let cases = [
        (DEFAULT, "1-1", "acme/2026/04/25/1-1/"),
        (DEFAULT, "1*.*", "acme/2026/04/25/1%2A.%2A/"),
        // Both the name and, in this template, what is left of it.
        (DEFAULT, ".", "acme/2026/04/25/%2E/"),
        ("{tenant}/{call_id}.{ext}", ".", "acme/%2E/"),
        ("{tenant}/{call_id}.{ext}", "..", "acme/%2E%2E/"),
        ("{tenant}/{call_id}.{ext}", "...", "acme/.../"),
        ("{tenant}/{name}", "1-1", "acme/1-1/"),
        ("{tenant}/{ext}/{name}", "1-1", "acme/zip/1-1/"),
        ("{ext}/{tenant}/{name}.{ext}", "1-1", "zip/acme/1-1/"),
        ("{tenant}/{name}.{ext}/all", "1-1", "acme/1-1.zip/all/"),
        ("{tenant}/{name}-{ext}", "1-1", "acme/1-1-zip/"),
        ("{tenant}/{name}/{ext}", "1-1", "acme/1-1/zip/"),
        ("{tenant}/{name}/.{ext}", "1-1", "acme/1-1/.zip/"),
        ("{tenant}/{name}.{ext}.{ext}", "1-1", "acme/1-1.zip/"),
    ];
    for (template, call_id, wanted) in cases {
        assert_eq!(folder(template, call_id).as_str(), wanted, "{template} {call_id}");
    }
    // An entry's name is percent-encoded before.
    let folder = folder(DEFAULT, "1-1");
    assert_eq!(folder.key("a%2Fb.wav").unwrap().as_str(), "acme/2026/04/25/1-1/a%2Fb.wav");
    assert_eq!(folder.key(&"x".repeat(1004)).unwrap().as_str().len(), 1024);
    let long = folder.key(&"x".repeat(1005)).unwrap_err();
    assert_eq!(
        (long.reason, long.detail.as_str()),
        (Reason::MESSAGE_INVALID, "the key has 1025 bytes, the most is 1024")
    );
}

#[test]
fn names_of_recordings() {
    let cases = [
        ("1777093663-792075", "", "1777093663-792075"),
        ("", "X:/4/0/20260425/512/1629533.V3", "X_4_0_20260425_512_1629533"),
        ("", "X:\\17\\0\\20180903\\15470\\2043295.V3", "X_17_0_20180903_15470_2043295"),
        ("", "/4//0\\/1.V3/", "4_0_1"),
        ("", "X:", "X"),
        ("", "X:1.V3", "X%3A1"),
        ("", "XY:/1.V3", "XY%3A_1"),
        ("", "a/X:/1.V3", "a_X%3A_1"),
        ("", "a.b/c.d.e", "a.b_c.d"),
        ("", ".V3", ".V3"),
        ("", "plain", "plain"),
        ("", ".", "%2E"),
        ("", "..", "%2E"),
        ("", "...", "%2E%2E"),
        ("", "../..", ".._."),
        ("..", "", "%2E%2E"),
        ("..", "..", ".._."),
        ("a b/ü%", "", "a%20b%2F%C3%BC%25"),
        ("1777093663-792075", "X:/4/0/1.V3", "1777093663-792075_X_4_0_1"),
    ];
    for (call_id, file_name, wanted) in cases {
        assert_eq!(name(call_id, file_name), wanted, "{call_id:?} {file_name:?}");
    }
}

#[test]
fn keys_follow_their_template() {
    let both = wanted("C-1", "X:/4/1.V3");
    let cases = [
        (DEFAULT, "wav", "acme/2026/04/25/C-1_X_4_1.wav"),
        ("{tenant}/{hh}/{cc_id}/{call_id}/{name}", "wav", "acme/05/c%2F1/C-1/C-1_X_4_1"),
        (
            "in=1/tenant={tenant}/{name}.{name}.{ext}",
            "a/b",
            "in=1/tenant=acme/C-1_X_4_1.C-1_X_4_1.a%2Fb",
        ),
        // Dots beside the tenant, and names on one side alone.
        ("{tenant}.{cc_id}.{name}", "wav", "acme.c%2F1.C-1_X_4_1"),
        ("{cc_id}.{tenant}.{yyyy}/{name}", "wav", "c%2F1.acme.2026/C-1_X_4_1"),
        ("{cc_id}={tenant}.{name}", "wav", "c%2F1=acme.C-1_X_4_1"),
    ];
    for (template, extension, wanted) in cases {
        assert_eq!(key(template, &both, extension).unwrap(), wanted);
    }
    let file = wanted("", "1.V3");
    assert_eq!(key("{tenant}/{call_id}/{name}", &file, "wav").unwrap(), "acme/-/1");
    // No part is one that clients of the store would resolve away.
    let dots = wanted("..", "");
    assert_eq!(key("{tenant}/{call_id}/{name}", &dots, "wav").unwrap(), "acme/%2E%2E/%2E%2E");
}

#[test]
fn a_key_has_at_most_1024_bytes() {
    // 225 characters of 4 bytes, each percent-encoded, are 2,700 bytes.
    let long = wanted("", &"😀".repeat(225));
    let failure = key(DEFAULT, &long, "wav").unwrap_err();
    assert_eq!(failure.reason, Reason::MESSAGE_INVALID);
    assert_eq!(failure.detail, "the key has 2720 bytes, the most is 1024");
    let fits = wanted("", &format!("{}aaaa", "😀".repeat(83)));
    assert_eq!(key(DEFAULT, &fits, "wav").unwrap().len(), 1020);
    let exact = wanted("", &format!("{}aaaaaaaa", "😀".repeat(83)));
    assert_eq!(key(DEFAULT, &exact, "wav").unwrap().len(), 1024);
    let over = wanted("", &format!("{}aaaaaaaaa", "😀".repeat(83)));
    assert!(key(DEFAULT, &over, "wav").is_err());
}

#[test]
fn what_cannot_be_located_is_refused() {
    let refused = |wanted: &Wanted| locate(wanted, &TimeZone::UTC, None, LATER).unwrap_err().reason;
    assert_eq!(refused(&Wanted::default()), Reason::MESSAGE_INVALID);
    let undated = Wanted { call_end: None, ..wanted("C-1", "") };
    assert_eq!(refused(&undated), Reason::MESSAGE_NO_DATE);
    let sent_at = Some("2026-04-25T05:12:44Z".parse().unwrap());
    assert!(locate(&undated, &TimeZone::UTC, sent_at, LATER).is_ok());

    // A begin that gives no date goes into messages, too.
    let now = "2026-04-25T05:12:44Z".parse().unwrap();
    let next_year = Some("2027-04-25T05:12:44Z".parse().unwrap());
    let begins = Wanted { call_begin: next_year, ..wanted("C-1", "") };
    let ends = Wanted { call_end: next_year, ..wanted("C-1", "") };
    for (wanted, what) in [(begins, "callBegin"), (ends, "callEnd")] {
        let failure = locate(&wanted, &TimeZone::UTC, None, now).unwrap_err();
        let told = format!("{what} is more than a day ahead of the clock (2026-04-25T05:12:44Z)");
        assert_eq!((failure.reason, failure.detail), (Reason::MESSAGE_INVALID, told));
        assert!(locate(&wanted, &TimeZone::UTC, None, LATER).is_ok());
    }
}

#[test]
fn templates_are_checked() {
    let cases = [
        (
            "{tenat}/{name}",
            "has the unknown placeholder {tenat} (known: {tenant} {yyyy} {mm} {dd} {hh} {call_id} {name} {cc_id} {ext})",
        ),
        (
            "{tenant}/{zzz}/{name}",
            "has the unknown placeholder {zzz} (known: {tenant} {yyyy} {mm} {dd} {hh} {call_id} {name} {cc_id} {ext})",
        ),
        ("{tenant}/{cc_id}.{ext}", "must contain {name} or {call_id}, or recordings share a key"),
        ("{yyyy}", "must contain {name} or {call_id}, or recordings share a key"),
        ("", "must contain {name} or {call_id}, or recordings share a key"),
        ("/{tenant}/{name}", "must neither begin nor end with a slash nor have two in a row"),
        ("{tenant}/{name}/", "must neither begin nor end with a slash nor have two in a row"),
        ("{tenant}//{name}", "must neither begin nor end with a slash nor have two in a row"),
        ("{tenant}/../{name}", "must have no part that is `.` or `..`"),
        ("{tenant}/{name", "has a `{` without its `}`"),
        ("{tenant}/name}", "has a `}` without its `{`"),
        (
            "{tenant}/a b/{name}",
            "has ' '; besides placeholders only A–Z a–z 0–9 . _ - = / may stand",
        ),
        (
            "{tenant}{name}",
            "{tenant} must stand between slashes (or `.` or `=`), or the keys of two tenants could meet",
        ),
        (
            "{name}-{tenant}",
            "{tenant} must stand between slashes (or `.` or `=`), or the keys of two tenants could meet",
        ),
        ("{cc_id}.{tenant}.{name}", NAMES_ON_BOTH_SIDES),
        ("x/{name}.{yyyy}.{tenant}.{ext}", NAMES_ON_BOTH_SIDES),
        ("{tenant}/{call_id}.a.{tenant}.b.{cc_id}", NAMES_ON_BOTH_SIDES),
    ];
    for (template, error) in cases {
        assert_eq!(KeyTemplate::parse(template).unwrap_err(), error, "{template}");
    }
}

/// Of every template that is taken, however odd: all keys of two tenants whose ids and names look
/// alike, were they asked for by these names.
#[test]
fn the_keys_of_two_tenants_never_meet() {
    let names = ["a", "b", "a.a", "a.b", "b.a", "a-b", "a=b", ".a", "a."];
    let around = ["", "/", "x/", "/x.", ".", "=", "-", "t=", "{cc_id}", "{cc_id}/", "/{cc_id}"];
    let dots =
        ["{cc_id}.", "{cc_id}=", "{call_id}.x{dd}.", ".{cc_id}", "={cc_id}", ".{dd}.{call_id}"];
    let all = || around.iter().chain(&dots);
    let (mut taken, mut refused) = (0, 0);
    for (before, after) in all().flat_map(|before| all().map(move |after| (before, after))) {
        for rest in ["", "/{call_id}", ".{call_id}", "{tenant}"] {
            let Ok(template) = KeyTemplate::parse(&format!("{before}{{tenant}}{after}{rest}"))
            else {
                refused += 1;
                continue;
            };
            taken += 1;
            let mut whose = BTreeMap::new();
            for (tenant, cc_id, call_id) in triples(["a", "b", "a-b"], names, names) {
                let wanted = wanted(call_id, "");
                let place = locate(&wanted, &TimeZone::UTC, None, LATER).unwrap();
                let (id, cc_id) = (TenantId::new(tenant).unwrap(), CcId::new(cc_id).unwrap());
                let (wanted, place) = (&wanted, &place);
                let recording = Located { tenant: &id, cc_id: &cc_id, wanted, place };
                let key = template.key(recording, "wav").unwrap();
                let other = whose.insert(key.to_string(), tenant).filter(|other| *other != tenant);
                assert_eq!(other, None, "{before}{{tenant}}{after}{rest}: {tenant} too has {key}");
            }
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

fn triples<const N: usize, const M: usize>(
    tenants: [&'static str; N],
    cc_ids: [&'static str; M],
    call_ids: [&'static str; M],
) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    tenants.into_iter().flat_map(move |tenant| {
        cc_ids.into_iter().flat_map(move |cc_id| call_ids.map(|call_id| (tenant, cc_id, call_id)))
    })
}

#[test]
fn a_template_says_what_it_depends_on() {
    let tenant = TenantId::new("acme").unwrap();
    let cases = [
        (DEFAULT, true, Some("acme/")),
        ("calls/{tenant}/{name}", false, Some("calls/acme/")),
        ("{yyyy}/{tenant}/{name}", false, None),
        ("{tenant}/calls/.{call_id}", false, Some("acme/calls/")),
        ("calls/{name}", false, None),
    ];
    for (template, uses_extension, prefix) in cases {
        let template = KeyTemplate::parse(template).unwrap();
        assert_eq!(template.uses_extension(), uses_extension);
        assert_eq!(template.prefix(&tenant).as_deref(), prefix);
    }
}

proptest! {
    #[test]
    fn keys_are_clean(
        call_id in "[./a-z%😀 -]{0,8}",
        file_name in "([A-Z]:)?[./\\\\a-z0-9%ü _-]{0,20}",
        extension in "[./A-Za-z%ü]{0,5}",
        template in prop::sample::select(vec![
            DEFAULT, "{tenant}/{name}", "{tenant}/{call_id}/{name}", "{tenant}/{cc_id}/.{name}/x.{ext}",
        ]),
    ) {
        let wanted = wanted(&call_id, &file_name);
        prop_assume!(wanted.call_id.is_some() || wanted.file_name.is_some());
        let key_text = key(template, &wanted, &extension).unwrap();
        for segment in key_text.split('/') {
            prop_assert!(!matches!(segment, "" | "." | ".."), "{}", key_text);
        }
        let clean = |b: u8| b.is_ascii_alphanumeric() || b"._-%/".contains(&b);
        prop_assert!(key_text.bytes().all(clean), "{}", key_text);
        let parts = key_text.split('/').count();
        prop_assert_eq!(parts, template.split('/').count());
        prop_assert_eq!(key(template, &wanted, &extension).unwrap(), key_text);
    }

    #[test]
    fn any_names_give_a_key_or_one_that_is_too_long(
        call_id in "\\PC{0,25}",
        file_name in "\\PC{0,225}",
    ) {
        let wanted = wanted(&call_id, &file_name);
        prop_assume!(wanted.call_id.is_some() || wanted.file_name.is_some());
        match key(DEFAULT, &wanted, "wav") {
            Ok(key) => prop_assert!(key.len() <= 1024 && key.is_ascii(), "{}", key),
            Err(failure) => prop_assert_eq!(failure.reason, Reason::MESSAGE_INVALID),
        }
    }

    #[test]
    fn two_calls_of_a_day_never_share_a_key(
        call_ids in ("[./a-z%2E😀_-]{1,6}", "[./a-z%2E😀_-]{1,6}"),
        file_name in "|X:/4/0/1.V3|..|[a-z_./-]{1,9}",
        template in prop::sample::select(vec![
            DEFAULT, "{tenant}/{name}", "{tenant}/{call_id}", "{tenant}/{call_id}{name}.{ext}",
        ]),
    ) {
        prop_assume!(call_ids.0 != call_ids.1);
        let [one, other] = [call_ids.0, call_ids.1].map(|id| wanted(&id, &file_name));
        prop_assert_ne!(key(template, &one, "wav").unwrap(), key(template, &other, "wav").unwrap());
    }

    #[test]
    fn a_key_depends_on_nothing_but_its_message(
        call_id in "[0-9]{8,12}(-[0-9]{0,6})?",
        file_name in "|X:/4/0/2026[0-9]{4}/1.V3",
        called_at in proptest::option::of(0..4_000_000_000_i64),
        sent_at in proptest::option::of(0..4_000_000_000_i64),
    ) {
        let instant = |second: i64| Timestamp::from_second(second).unwrap();
        let wanted = Wanted { call_end: called_at.map(instant), ..wanted(&call_id, &file_name) };
        let located = locate(&wanted, &TimeZone::UTC, sent_at.map(instant), LATER);
        // The time of sending counts where the message itself has none.
        match (locate(&wanted, &TimeZone::UTC, None, LATER), sent_at) {
            (Ok(place), _) => prop_assert_eq!(located.unwrap(), place),
            (Err(_), Some(sent_at)) => prop_assert_eq!(located.unwrap().when.known_at, instant(sent_at)),
            (Err(_), None) => prop_assert_eq!(located.unwrap_err().reason, Reason::MESSAGE_NO_DATE),
        }
    }

    #[test]
    fn a_template_is_read_as_it_stands(template in "([{}/.=a-z]|\\{(tenant|yyyy|mm|name|ext)\\}|/){0,12}") {
        let Ok(KeyTemplate(pieces)) = KeyTemplate::parse(&template) else { return Ok(()) };
        let written = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Field(field) => {
                let (name, _) = Field::ALL.iter().find(|(_, known)| known == field).unwrap();
                format!("{{{name}}}")
            }
        });
        prop_assert_eq!(written.collect::<String>(), template);
    }
}
