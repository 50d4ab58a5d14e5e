//! Events: what the code builds is what the schemas say, and all that they say is built.

use std::collections::{BTreeMap, BTreeSet};

use callvault::event::{self, Archived, ArchivedObject, Audited, Event, Found, Unarchived};
use callvault::failure::Reason;
use callvault::recording::{Audio, ObjectKey, Place, locate};
use callvault::request::{CallId, CcId, Echo, FileName, RequestId, TenantId, Wanted};
use callvault::traces::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;

use super::{OUT, Schema};

/// All that an event is built of.
#[derive(Clone, Debug)]
struct News {
    echo: Echo,
    /// Where it belongs; `None` where the message does not tell.
    place: Option<Place>,
    objects: Vec<ArchivedObject>,
    reason: Reason,
    flag: bool,
    attempts: u32,
    now: Timestamp,
    trace: Option<Context>,
}

impl News {
    /// The events that the line builds of it. A recording is archived for a tenant under a name, and
    /// is absent only where CC-FS itself says so.
    fn events(&self) -> Vec<Event> {
        let unarchived = Unarchived {
            echo: &self.echo,
            place: self.place.as_ref(),
            force: self.flag,
            body_sha256: &[7; 32],
            redrive: self.flag.then_some("r1"),
            attempts: self.attempts,
            reason: &self.reason,
            detail: "CC-FS answered: no data found",
            now: self.now,
            trace: self.trace.as_ref(),
        };
        let mut events = vec![event::failed(&unarchived)];
        if let (Some(tenant), Some(place)) = (&self.echo.tenant, &self.place) {
            let attempts = self.attempts.max(1);
            if self.reason.is_result_code() {
                events.push(event::absent(&Unarchived { attempts, ..unarchived }));
            }
            events.push(event::archived(&Archived {
                echo: &self.echo,
                tenant,
                place,
                extension: "wav",
                cc_id: &CcId::new("1").expect("a good id"),
                foreign: false,
                force: self.flag,
                objects: &self.objects,
                already_archived: self.flag,
                attempts,
                archived_at: self.now,
                now: self.now,
                trace: self.trace.as_ref(),
            }));
        }
        if let (Some(tenant), Some(place)) = (&self.echo.tenant, &self.place) {
            let many = u64::from(self.attempts);
            let found = Found { rows: many, missing: many, ..Found::default() };
            let (day, began, now) = (place.when.date, self.now, self.now);
            events.push(event::audited(&Audited { tenant, day, found, began, now }));
        }
        if let (Some(tenant), Some(request_id)) = (&self.echo.tenant, &self.echo.request_id) {
            let count = usize::try_from(self.attempts).expect("not many") + 2;
            let trace = self.trace.as_ref();
            events.push(event::expanded(tenant, request_id, count, self.now, trace));
        }
        events
    }
}

fn audio() -> impl Strategy<Value = Audio> {
    let codec =
        prop_oneof![Just("pcm_alaw".to_owned()), Just("gsm_ms".to_owned()), "tag_[0-9]{1,5}"];
    (codec, any::<u32>(), any::<u16>(), any::<Option<u64>>()).prop_map(
        |(codec, sample_rate, channels, duration_ms)| Audio {
            codec,
            sample_rate,
            channels,
            duration_ms,
        },
    )
}

fn object() -> impl Strategy<Value = ArchivedObject> {
    let unproven = [Reason::CCFS_TRUNCATED, Reason::CCFS_PROTOCOL, Reason::CCFS_EMPTY];
    let of_store = (
        any::<u64>(),
        prop::option::of("[0-9a-f]{64}"),
        prop::option::of("\"[0-9a-f]{32}\""),
        prop::option::of("[A-Za-z0-9]{1,32}"),
        prop::option::of("audio/wav|application/zip|application/octet-stream"),
    );
    let of_content =
        (prop::option::of(audio()), prop::option::of(prop::sample::select(unproven.to_vec())));
    (of_store, of_content).prop_map(|(of_store, (audio, unproven))| {
        let (size, sha256, etag, version_id, content_type) = of_store;
        let key = ObjectKey::new("acme/2026/04/25/1777093663-1.wav").expect("a good key");
        let bucket = "recordings".to_owned();
        ArchivedObject {
            bucket,
            key,
            size,
            sha256,
            etag,
            version_id,
            content_type,
            audio,
            unproven,
        }
    })
}

fn echo() -> impl Strategy<Value = Echo> {
    let time = 0..253_402_207_200_i64;
    (
        prop::option::of("[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        prop::option::of("[^\\p{Cc}]{1,25}"),
        prop::option::of("[^\\p{Cc}]{0,100}[a-z]"),
        prop::option::of("[^\\p{Cc}]{1,128}"),
        prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
        prop::option::of((time, 0..1_000_000_000_i32)),
    )
        .prop_map(|(tenant, call_id, file_name, request_id, metadata, end)| Echo {
            tenant: tenant.and_then(|id| TenantId::new(id).ok()),
            call_id: call_id.and_then(|id| CallId::new(id).ok()),
            file_name: file_name.and_then(|name| FileName::new(name).ok()),
            request_id: request_id.and_then(|id| RequestId::new(id).ok()),
            metadata,
            call_end: end.and_then(|(second, part)| Timestamp::new(second, part).ok()),
        })
}

fn reason() -> impl Strategy<Value = Reason> {
    let fixed = prop::sample::select(Reason::FIXED.to_vec());
    let of_ccfs = "[0-9]{1,9}".prop_map(|code| Reason::ccfs(&code));
    let of_store = "[A-Za-z][A-Za-z.]{1,30}".prop_map(|code| Reason::store(&code, 400));
    let statuses = (100..600_u16).prop_map(Reason::ccfs_http);
    prop_oneof![fixed, of_ccfs, of_store, statuses]
}

fn trace() -> impl Strategy<Value = Option<Context>> {
    let place = "00-[0-9a-f]{31}[1-9a-f]-[0-9a-f]{15}[1-9a-f]-0[0-3]";
    let state = prop::option::of("[a-z]{1,8}=[ -+.-<>-~]{0,8}[a-z]");
    prop::option::of((place, state))
        .prop_map(|trace| trace.and_then(|(place, state)| Context::parse(&place, state.as_deref())))
}

fn news() -> impl Strategy<Value = News> {
    let objects = prop::collection::vec(object(), 1..4);
    let now = (0..253_402_207_200_i64, 0..1_000_000_000_i32);
    let attempts = prop_oneof![Just(0), 0..9000_u32];
    (echo(), objects, reason(), any::<bool>(), attempts, now, trace()).prop_map(
        |(echo, objects, reason, flag, attempts, (second, part), trace)| {
            let wanted = Wanted {
                call_id: echo.call_id.clone(),
                file_name: echo.file_name.clone(),
                call_end: echo.call_end,
                ..Wanted::default()
            };
            let place = locate(&wanted, &TimeZone::UTC, None, Timestamp::MAX).ok();
            let now = Timestamp::new(second, part).expect("in range");
            News { echo, place, objects, reason, flag, attempts, now, trace }
        },
    )
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.body).expect("JSON")
}

/// The fields that a value has, by their places: `/data/objects/key`.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields_of) => {
            for (name, value) in fields_of {
                let place = format!("{at}/{name}");
                found.insert(place.clone());
                // The sender's own names.
                if name != "metadata" {
                    fields(value, &place, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, at, found)),
        _ => {}
    }
}

/// The same of what a schema says.
fn properties(schema: &Value, part: &Value, at: &str, found: &mut BTreeSet<String>) {
    let part = match part["$ref"].as_str() {
        Some(place) => schema.pointer(place.trim_start_matches('#')).expect("it is in the schema"),
        None => part,
    };
    if part["items"].is_object() {
        properties(schema, &part["items"], at, found);
    }
    for (name, part) in part["properties"].as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        found.insert(place.clone());
        properties(schema, part, &place, found);
    }
}

proptest! {
    #[test]
    fn every_event_is_as_its_schema_says(news in news()) {
        thread_local! {
            static SCHEMAS: BTreeMap<&'static str, Schema> =
                OUT.into_iter().map(|event| (event, Schema::of(event))).collect();
        }
        for event in news.events() {
            let tenant = news.echo.tenant.as_ref().map_or(TenantId::UNKNOWN, TenantId::as_str);
            prop_assert_eq!(&event.routing_key, &format!("{}.{tenant}", event.event_type));
            let body = body(&event);
            prop_assert_eq!(&body["id"], &event.id);
            SCHEMAS.with(|schemas| schemas[event.event_type].must_take(&body));
        }
    }
}

/// Each kind of event, with all that it can have.
pub(super) fn one_of_each() -> Vec<Event> {
    let echo = Echo {
        tenant: TenantId::new("acme").ok(),
        call_id: CallId::new("1777093663-1").ok(),
        file_name: FileName::new("X:/4/0/20260425/512/1.V3").ok(),
        request_id: RequestId::new("audit").ok(),
        metadata: [("agentId".to_owned(), "512".to_owned())].into(),
        call_end: Timestamp::from_second(1_777_093_964).ok(),
    };
    let wanted = Wanted { call_id: echo.call_id.clone(), ..Wanted::default() };
    let object = ArchivedObject {
        bucket: "recordings".to_owned(),
        key: ObjectKey::new("acme/2026/04/25/1777093663-1.wav").expect("a good key"),
        size: 640,
        sha256: Some("ab".repeat(32)),
        etag: Some("e".to_owned()),
        version_id: Some("v".to_owned()),
        content_type: Some("audio/wav".to_owned()),
        audio: Some(Audio {
            codec: "pcm_alaw".to_owned(),
            sample_rate: 8000,
            channels: 1,
            duration_ms: Some(40),
        }),
        unproven: Some(Reason::CCFS_TRUNCATED),
    };
    let full = News {
        place: locate(&wanted, &TimeZone::UTC, None, Timestamp::MAX).ok(),
        echo,
        objects: vec![object],
        reason: Reason::ccfs("0300012"),
        flag: false,
        attempts: 1,
        now: Timestamp::from_second(1_777_093_970).expect("in range"),
        trace: Context::parse(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            Some("rojo=1"),
        ),
    };
    full.events()
}

#[test]
fn every_property_of_a_schema_is_in_some_event_and_the_other_way_round() {
    let events: BTreeMap<_, _> =
        one_of_each().into_iter().map(|event| (event.event_type, body(&event))).collect();
    assert_eq!(events.keys().copied().collect::<BTreeSet<_>>(), OUT.into());
    for (event, body) in events {
        let schema = Schema::of(event).text;
        let (mut said, mut built) = (BTreeSet::new(), BTreeSet::new());
        properties(&schema, &schema, "", &mut said);
        fields(&body, "", &mut built);
        assert_eq!(said, built, "{event}");
    }
}
