//! A right of RabbitMQ taken apart into what it is given to. Pure.

/// What a pattern of the files matches, one after the other, each a pattern itself.
pub fn parts(pattern: &str) -> Vec<String> {
    let bare = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let bare = bare.unwrap_or_else(|| panic!("{pattern} is not held at both ends"));
    let parts = expanded(bare);
    if parts == [""] { Vec::new() } else { parts }
}

/// The pattern of these.
pub fn pattern(parts: &[String]) -> String {
    if parts.is_empty() { "^$".to_owned() } else { format!("^({})$", parts.join("|")) }
}

/// As people write it: `callvault.retry.*`.
pub fn shown(part: &str) -> String {
    part.replace(r"\..*", ".*").replace(r"\.", ".")
}

fn expanded(text: &str) -> Vec<String> {
    alternatives(text).into_iter().flat_map(groups_of).collect()
}

/// Split where no group is open.
fn alternatives(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => {
                found.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[from..]);
    found
}

fn groups_of(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('(') else { return vec![text.to_owned()] };
    let mut depth = 1;
    let ends = |&(_, c): &(usize, char)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    };
    let (end, _) = rest.char_indices().find(ends).expect("a group is closed");
    let inner = expanded(&rest[..end]);
    let after = groups_of(&rest[end + 1..]);
    let all = inner.iter().flat_map(|inner| after.iter().map(move |after| (inner, after)));
    all.map(|(inner, after)| format!("{before}{inner}{after}")).collect()
}

#[test]
fn a_pattern_is_taken_apart_and_put_together() {
    let all = parts(r"^callvault\.(dead\.walk|(jobs|bulk)\.redrive|retry\..*)$");
    let shown: Vec<_> = all.iter().map(|part| shown(part)).collect();
    assert_eq!(
        shown,
        [
            "callvault.dead.walk",
            "callvault.jobs.redrive",
            "callvault.bulk.redrive",
            "callvault.retry.*"
        ]
    );
    assert_eq!(pattern(&all[..2]), r"^(callvault\.dead\.walk|callvault\.jobs\.redrive)$");
    assert_eq!((parts("^$").len(), pattern(&[])), (0, "^$".to_owned()));
    assert_eq!(parts("^(a|b)$"), ["a", "b"]);
}
