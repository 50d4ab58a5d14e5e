//! The fields of an opened message, all of them: what is wrong is noted, and the reading goes on.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::mistakes::{Mistake, Mistakes};
use super::{
    DumpRequest, MAX_RECORDINGS, MessageType, RecordingRequest, Request, Wanted, fields, time,
};

/// The recordings of a dump, read one by one.
#[derive(Default)]
pub struct Recordings {
    count: usize,
    wanted: Vec<Wanted>,
    mistakes: Mistakes,
}

impl Recordings {
    pub fn add(&mut self, value: &Value, now: Timestamp) {
        let index = self.count;
        self.count += 1;
        if index >= MAX_RECORDINGS {
            // That is the mistake, and all else is of no use.
            (self.wanted, self.mistakes) = Default::default();
            return;
        }
        let mut mistakes = Mistakes::default();
        let recording = mistakes.note(fields::object(value)).map(|data| {
            let instead = "in a recording: it stands beside requestId, and is for all of them";
            mistakes.note(fields::no_force(data, instead));
            Reader { data, recordings: None, now, mistakes: &mut mistakes }.listed()
        });
        self.mistakes.of_recording(index, mistakes);
        self.wanted.push(recording.unwrap_or_default());
    }

    pub fn len(&self) -> usize {
        self.count
    }

    fn read(self, mistakes: &mut Mistakes) -> Option<Vec<Wanted>> {
        if !(1..=MAX_RECORDINGS).contains(&self.count) {
            mistakes.add(Mistake::new(format!(
                "recordings must have 1 to {MAX_RECORDINGS} entries, has {}",
                self.count
            )));
            return None;
        }
        mistakes.append(self.mistakes);
        Some(self.wanted)
    }
}

/// Reads the fields of a message, or of a recording of a dump.
pub struct Reader<'a> {
    pub data: &'a Map<String, Value>,
    /// `recordings`, where that is an array; it is not among the fields.
    pub recordings: Option<Recordings>,
    pub now: Timestamp,
    pub mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    /// `None` where something that is required is missing, which is a mistake.
    pub fn read(mut self, message_type: MessageType) -> Option<Request> {
        match message_type {
            MessageType::CallCompleted => self.call(),
            MessageType::DumpItem => self.item(),
            MessageType::DumpRequested => self.dump(),
            // It is refused; what else is wrong is told by what it looks like.
            MessageType::Invalid if self.has_recordings() => self.dump(),
            MessageType::Invalid => self.call(),
        }
    }

    fn has_recordings(&self) -> bool {
        self.recordings.is_some() || self.data.contains_key("recordings")
    }

    /// `requestId` and `expected` are no fields of this message: they mean nothing in it.
    fn call(&mut self) -> Option<Request> {
        let tenant = self.required("tenant", fields::tenant);
        let wanted = self.wanted();
        self.mistakes.note(fields::no_force(
            self.data,
            "in a call.completed: send a recording.dump-requested, or leave it out",
        ));
        let message_type = MessageType::CallCompleted;
        let (request_id, force) = (None, false);
        let request = RecordingRequest { tenant: tenant?, wanted, request_id, force, message_type };
        Some(Request::Recording(request))
    }

    fn item(&mut self) -> Option<Request> {
        let tenant = self.required("tenant", fields::tenant);
        let request_id = self.required("requestId", fields::request_id);
        let force = self.optional(|data| fields::flag(data, "force"));
        let wanted = self.listed();
        let message_type = MessageType::DumpItem;
        let (tenant, request_id) = (tenant?, Some(request_id?));
        let request = RecordingRequest { tenant, wanted, request_id, force, message_type };
        Some(Request::Recording(request))
    }

    fn dump(&mut self) -> Option<Request> {
        let tenant = self.required("tenant", fields::tenant);
        let request_id = self.required("requestId", fields::request_id);
        let force = self.optional(|data| fields::flag(data, "force"));
        let recordings = self.recordings();
        let (tenant, request_id, recordings) = (tenant?, request_id?, recordings?);
        Some(Request::Dump(DumpRequest { tenant, request_id, force, recordings }))
    }

    fn recordings(&mut self) -> Option<Vec<Wanted>> {
        let Some(recordings) = self.recordings.take() else {
            let none = fields::no_list(self.data, "recordings");
            self.mistakes.note(none);
            return None;
        };
        recordings.read(self.mistakes)
    }

    /// A recording of a dump.
    fn listed(&mut self) -> Wanted {
        let wanted = self.wanted();
        let listed = Wanted { expected: self.optional(fields::expected), ..wanted };
        if listed.expected.is_some() && matches!(fields::call_id(self.data), Ok(None)) {
            // What a file name names is one file.
            self.mistakes.add(Mistake::new(
                "expected says how many files CC-FS has for a callId, and there is none: leave it \
                 out",
            ));
        }
        listed
    }

    fn wanted(&mut self) -> Wanted {
        let names = (fields::call_id(self.data), fields::file_name(self.data));
        if matches!(names, (Ok(None), Ok(None))) {
            self.mistakes.add(Mistake::new("callId or fileName is required"));
        }
        Wanted {
            call_id: self.mistakes.note(names.0).flatten(),
            file_name: self.mistakes.note(names.1).flatten(),
            cc_id: self.optional(fields::cc_id),
            call_begin: self.time("callBegin"),
            call_end: self.time("callEnd"),
            expected: None,
            metadata: self.optional(fields::metadata),
        }
    }

    fn time(&mut self, field: &str) -> Option<Timestamp> {
        let now = self.now;
        self.optional(|data| {
            let time = fields::time(data, field)?;
            time.map_or(Ok(()), |time| time::not_ahead(field, time, now))?;
            Ok(time)
        })
    }

    fn optional<T: Default>(
        &mut self,
        read: impl FnOnce(&Map<String, Value>) -> Result<T, Mistake>,
    ) -> T {
        self.mistakes.note(read(self.data)).unwrap_or_default()
    }

    fn required<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&Map<String, Value>) -> Result<Option<T>, Mistake>,
    ) -> Option<T> {
        self.mistakes.note(fields::required(field, read(self.data)))
    }
}
