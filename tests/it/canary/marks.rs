//! What is looked for, in which forms, and where it may stand all the same.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::broker::client::Seen;

/// Where something may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nowhere.
    Secret,
    /// Where `callvault sign` prints a request that is signed.
    Signature,
    /// In the event alone, handed on as the sender wrote it.
    Metadata,
    /// Nowhere.
    Number,
    /// Everywhere but in a log and on a page for which `log.identifiers = "hashed"`.
    CallId,
}

pub struct Mark {
    pub name: &'static str,
    pub text: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Log {
        hashed: bool,
    },
    Page {
        hashed: bool,
    },
    /// What a command prints.
    Printed {
        signs: bool,
    },
    /// What it says besides.
    Said,
    Event,
    Header,
    File,
}

impl Kind {
    fn may_stand_in(self, place: Place) -> bool {
        match self {
            Self::Secret | Self::Number => false,
            Self::Signature => place == Place::Printed { signs: true },
            Self::Metadata => place == Place::Event,
            Self::CallId => {
                !matches!(place, Place::Log { hashed: true } | Place::Page { hashed: true })
            }
        }
    }
}

/// A form that bytes take on their way.
struct Form {
    mark: &'static Mark,
    how: &'static str,
    text: String,
    /// In letters of either case.
    any_case: bool,
}

/// All that came out, searched as it comes.
pub struct Finds {
    forms: Vec<Form>,
    found: Vec<String>,
    searched: Vec<String>,
}

impl Finds {
    pub fn new(marks: &'static [Mark]) -> Self {
        Self {
            forms: marks.iter().flat_map(forms).collect(),
            found: Vec::new(),
            searched: Vec::new(),
        }
    }

    pub fn log(&mut self, whose: &str, log: String, hashed: bool) {
        self.search(Place::Log { hashed }, whose, &log);
    }

    pub fn page(&mut self, path: &str, body: String, hashed: bool) {
        self.search(Place::Page { hashed }, path, &body);
    }

    pub fn command(&mut self, line: &str, printed: String) {
        self.search(Place::Printed { signs: line.starts_with("sign ") }, line, &printed);
    }

    pub fn said(&mut self, line: &str, said: String) {
        self.search(Place::Said, line, &said);
    }

    pub fn file(&mut self, name: &str, bytes: Vec<u8>) {
        self.search(Place::File, name, &String::from_utf8_lossy(&bytes));
    }

    pub fn event(&mut self, event: &Seen) {
        let text = format!("{} {:?}", String::from_utf8_lossy(&event.body), event.properties);
        self.search(Place::Event, &event.routing_key, &text);
    }

    /// What was written to a message beside its body, which is the sender's.
    pub fn header(&mut self, message: &Seen) {
        self.search(Place::Header, &message.routing_key, &format!("{:?}", message.properties));
    }

    fn search(&mut self, place: Place, name: &str, text: &str) {
        let lower = text.to_lowercase();
        for Form { mark, how, text: form, any_case } in &self.forms {
            let at = if *any_case { lower.find(form) } else { text.find(form) };
            let Some(at) = at.filter(|_| !mark.kind.may_stand_in(place)) else { continue };
            let near = if *any_case { &lower } else { text };
            let start = near.floor_char_boundary(at.saturating_sub(120));
            let end = near.ceil_char_boundary((at + 120).min(near.len()));
            self.found.push(format!(
                "{}, {how}, in {place:?} {name}: …{}…",
                mark.name,
                &near[start..end]
            ));
        }
        self.searched.push(format!("{place:?} {name}: {} bytes", text.len()));
    }

    pub fn are_none(&self) {
        assert!(self.searched.len() > 200, "{:#?}", self.searched);
        assert!(self.found.is_empty(), "{} of\n{}", self.found.len(), self.found.join("\n\n"));
    }
}

fn forms(mark: &'static Mark) -> Vec<Form> {
    let text = mark.text;
    let of = |how, text: String, any_case| Form { mark, how, text, any_case };
    let mut all = vec![
        of("as it is", text.to_lowercase(), true),
        of("in hex", hex::encode(text), true),
        of("percent-encoded", text.bytes().map(|byte| format!("%{byte:02x}")).collect(), true),
    ];
    // By what stands in front, there are three ways in which the bytes fall into groups of three; the
    // first and the last characters are of the neighbours as well.
    for lead in 0..3 {
        let bytes = [&[0; 2][..lead], text.as_bytes()].concat();
        for (how, engine) in
            [("in base64", STANDARD_NO_PAD), ("in base64 of URLs", URL_SAFE_NO_PAD)]
        {
            let encoded = engine.encode(&bytes);
            let end = bytes.len() / 3 * 4;
            all.push(of(how, encoded[[0, 2, 3][lead]..end].to_owned(), false));
        }
    }
    // What is cut off is still half of a secret. Half of a number is any number.
    if mark.kind == Kind::Secret {
        let (first, second) = text.split_at(text.len() / 2);
        all.push(of("its first half", first.to_lowercase(), true));
        all.push(of("its second half", second.to_lowercase(), true));
    }
    all
}

#[test]
fn every_form_is_found_wherever_it_stands() {
    static MARKS: [Mark; 1] =
        [Mark { name: "it", text: "Rq7vNz2KxWm4TbYd+/9L", kind: Kind::Secret }];
    let text = MARKS[0].text;
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut hidden = vec![
        text.to_uppercase(),
        hex::encode(text),
        escaped,
        text[..12].to_owned(),
        text[9..].to_owned(),
    ];
    for lead in ["", "a", "ab", "abc"] {
        for tail in ["", "x", "xy"] {
            hidden.push(STANDARD_NO_PAD.encode(format!("{lead}{text}{tail}")));
            hidden.push(URL_SAFE_NO_PAD.encode(format!("{lead}{text}{tail}")));
        }
    }
    for hidden in hidden {
        let mut finds = Finds::new(&MARKS);
        finds.log("a log", format!("before {hidden} behind"), false);
        assert!(!finds.found.is_empty(), "{hidden}");
    }
    let mut finds = Finds::new(&MARKS);
    finds.log("a log", "Rq7vNz2Kx and others".to_owned(), false);
    assert!(finds.found.is_empty(), "{:?}", finds.found);
}
