use jiff::civil::date;

use super::*;
use crate::recording::{Format, KeyTemplate, Located, When, extension};
use crate::request::{CallId, FileName, Wanted};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn echo() -> Echo {
    Echo {
        tenant: Some(tenant()),
        call_id: Some(CallId::new("1777093663-792075").unwrap()),
        file_name: Some(FileName::new("X:/4/0/20260425/512/1629533.V3").unwrap()),
        request_id: Some(RequestId::new("audit").unwrap()),
        metadata: [("agentId".to_owned(), "512".to_owned())].into(),
        call_end: Some(time("2026-04-25T05:12:44Z")),
    }
}

fn place() -> Place {
    let known_at = time("2026-04-25T05:12:44Z");
    Place { when: When { date: date(2026, 4, 25), hour: 5, known_at }, name: "C-1".into() }
}

fn object() -> ArchivedObject {
    let template = KeyTemplate::parse("{tenant}/{name}.{ext}").unwrap();
    let wanted = Wanted::default();
    let cc_id = CcId::new("1").unwrap();
    let extension = extension(Format::Wav, &wanted);
    let (tenant, place) = (tenant(), place());
    let recording = Located { tenant: &tenant, cc_id: &cc_id, wanted: &wanted, place: &place };
    ArchivedObject {
        bucket: "recordings".into(),
        key: template.key(recording, &extension).unwrap(),
        size: 2_408_044,
        sha256: Some("ab".repeat(32)),
        etag: Some("e".into()),
        version_id: Some("v".into()),
        content_type: Some("audio/wav".into()),
        audio: Some(Audio {
            codec: "pcm_alaw".into(),
            sample_rate: 8000,
            channels: 1,
            duration_ms: Some(301_000),
        }),
        unproven: None,
    }
}

fn text(event: &Event) -> String {
    String::from_utf8(event.body.clone()).unwrap()
}

fn with_archived<T>(use_it: impl FnOnce(Archived<'_>) -> T) -> T {
    use_it(Archived {
        echo: &echo(),
        tenant: &tenant(),
        place: &place(),
        extension: "wav",
        cc_id: &CcId::new("1").unwrap(),
        foreign: false,
        force: false,
        objects: &[object()],
        already_archived: false,
        attempts: 1,
        archived_at: time("2026-04-25T06:00:00.123456789Z"),
        now: time("2026-04-25T06:00:00.123456789Z"),
        trace: None,
    })
}

fn with_unarchived<T>(use_it: impl FnOnce(Unarchived<'_>) -> T) -> T {
    use_it(Unarchived {
        echo: &echo(),
        place: Some(&place()),
        force: false,
        body_sha256: &[7; 32],
        redrive: None,
        attempts: 12,
        reason: &Reason::ccfs("0300004"),
        detail: "the callId is too long",
        now: time("2026-04-25T06:00:00Z"),
        trace: None,
    })
}

#[test]
fn an_archived_event_reads_as_the_contract_says() {
    let event = with_archived(|news| archived(&news));
    assert_eq!(event.routing_key, "recording.archived.acme");
    assert_eq!(event.event_type, "recording.archived");
    insta::assert_snapshot!(text(&event), @r#"{"specversion":"1.0","type":"recording.archived","source":"callvault","id":"2493664c-68e7-8168-884d-a91fa0048ce8","time":"2026-04-25T06:00:00.123Z","subject":"acme/1777093663-792075","datacontenttype":"application/json","data":{"tenant":"acme","callId":"1777093663-792075","fileName":"X:/4/0/20260425/512/1629533.V3","ccId":"1","requestId":"audit","metadata":{"agentId":"512"},"objects":[{"bucket":"recordings","key":"acme/C-1.wav","size":2408044,"sha256":"abababababababababababababababababababababababababababababababab","etag":"e","versionId":"v","contentType":"audio/wav","audio":{"codec":"pcm_alaw","sampleRate":8000,"channels":1,"durationMs":301000}}],"alreadyArchived":false,"attempts":1,"callEnd":"2026-04-25T05:12:44Z","archivedAt":"2026-04-25T06:00:00.123Z"}}"#);
}

#[test]
fn an_object_found_in_the_store_leaves_out_what_is_not_known() {
    let found = ArchivedObject {
        sha256: None,
        etag: None,
        version_id: None,
        content_type: None,
        audio: None,
        ..object()
    };
    let bare = Echo { request_id: None, metadata: Default::default(), call_end: None, ..echo() };
    let event = with_archived(|news| {
        archived(&Archived { objects: &[found], echo: &bare, already_archived: true, ..news })
    });
    insta::assert_snapshot!(text(&event), @r#"{"specversion":"1.0","type":"recording.archived","source":"callvault","id":"2493664c-68e7-8168-884d-a91fa0048ce8","time":"2026-04-25T06:00:00.123Z","subject":"acme/1777093663-792075","datacontenttype":"application/json","data":{"tenant":"acme","callId":"1777093663-792075","fileName":"X:/4/0/20260425/512/1629533.V3","ccId":"1","objects":[{"bucket":"recordings","key":"acme/C-1.wav","size":2408044}],"alreadyArchived":true,"attempts":1,"archivedAt":"2026-04-25T06:00:00.123Z"}}"#);
}

#[test]
fn absent_and_failed_say_why() {
    let event = with_unarchived(|news| failed(&news));
    assert_eq!(event.routing_key, "recording.failed.acme");
    insta::assert_snapshot!(text(&event), @r#"{"specversion":"1.0","type":"recording.failed","source":"callvault","id":"6480416e-4df0-892d-9961-71e56002d188","time":"2026-04-25T06:00:00Z","subject":"acme/1777093663-792075","datacontenttype":"application/json","data":{"tenant":"acme","callId":"1777093663-792075","fileName":"X:/4/0/20260425/512/1629533.V3","requestId":"audit","metadata":{"agentId":"512"},"attempts":12,"reason":{"code":"ccfs.0300004","message":"the callId is too long"}}}"#);
    let event = with_unarchived(|news| absent(&news));
    assert_eq!(event.routing_key, "recording.absent.acme");
}

#[test]
fn a_message_of_nobody_is_routed_as_unknown() {
    let nobody = Echo { tenant: None, ..echo() };
    let event = with_unarchived(|news| failed(&Unarchived { echo: &nobody, ..news }));
    assert_eq!(event.routing_key, "recording.failed.unknown");
    let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
    assert_eq!(body.get("subject"), None);
    assert_eq!(body["data"].get("tenant"), None);
    assert_eq!(body["data"]["callId"], "1777093663-792075");
}

#[test]
fn a_dump_is_announced_with_its_count() {
    let request_id = RequestId::new("audit").unwrap();
    let event = expanded(&tenant(), &request_id, 3, time("2026-04-25T06:00:00Z"), None);
    assert_eq!(event.routing_key, "dump.expanded.acme");
    insta::assert_snapshot!(text(&event), @r#"{"specversion":"1.0","type":"dump.expanded","source":"callvault","id":"0352ea8d-dc7c-8a98-ad50-98ba8a879e9d","time":"2026-04-25T06:00:00Z","datacontenttype":"application/json","data":{"tenant":"acme","requestId":"audit","count":3}}"#);
}

fn with_audited<T>(use_it: impl FnOnce(Audited<'_>) -> T) -> T {
    use_it(Audited {
        tenant: &tenant(),
        day: date(2026, 4, 25),
        found: Found { rows: 9, present: 5, missing: 2, empty: 1, pending: 1, ..Found::default() },
        began: time("2026-04-26T03:30:00.5Z"),
        now: time("2026-04-26T03:31:12Z"),
    })
}

#[test]
fn an_audit_tells_all_that_it_has_found_zeros_too() {
    let event = with_audited(|news| audited(&news));
    assert_eq!(event.routing_key, "audit.completed.acme");
    insta::assert_snapshot!(text(&event), @r#"{"specversion":"1.0","type":"audit.completed","source":"callvault","id":"db9551b8-d5f1-85b3-b7e4-82ad183fb1ad","time":"2026-04-26T03:31:12Z","datacontenttype":"application/json","data":{"tenant":"acme","day":"2026-04-25","rows":9,"present":5,"partial":0,"missing":2,"empty":1,"pending":1,"bad":0,"enqueued":0}}"#);
}

#[test]
fn an_event_in_a_trace_says_where_it_is() {
    let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let place = Context::parse(place, Some("rojo=1")).unwrap();
    let (trace, request_id) = (Some(&place), RequestId::new("audit").unwrap());
    for event in [
        with_archived(|news| archived(&Archived { trace, ..news })),
        with_unarchived(|news| failed(&Unarchived { trace, ..news })),
        with_unarchived(|news| absent(&Unarchived { trace, ..news })),
        expanded(&tenant(), &request_id, 3, time("2026-04-25T06:00:00Z"), trace),
    ] {
        let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(body["traceparent"], place.traceparent(), "{}", event.event_type);
        assert_eq!(body["tracestate"], "rojo=1");
        assert_eq!(event.trace.as_ref(), trace);
    }
    let same = with_archived(|news| archived(&Archived { trace, ..news }).id);
    assert_eq!(same, with_archived(|news| archived(&news).id));
}

#[test]
fn the_subject_is_the_call_or_else_the_file() {
    let file = Echo { call_id: None, ..echo() };
    let event = with_unarchived(|news| failed(&Unarchived { echo: &file, ..news }));
    let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
    assert_eq!(body["subject"], "acme/X:/4/0/20260425/512/1629533.V3");
}

#[test]
fn a_repeat_has_the_id_of_the_first() {
    let first = with_archived(|news| archived(&news).id);
    let later = time("2027-01-01T00:00:00Z");
    let again = with_archived(|news| {
        let other = Echo { request_id: None, metadata: Default::default(), ..echo() };
        archived(&Archived {
            now: later,
            attempts: 9,
            echo: &other,
            already_archived: true,
            ..news
        })
        .id
    });
    assert_eq!(first, again);
    let hour = Place { when: When { hour: 7, known_at: later, ..place().when }, ..place() };
    assert_eq!(first, with_archived(|news| archived(&Archived { place: &hour, ..news }).id));
    let told = |now| with_audited(|news| audited(&Audited { now, ..news }).id);
    assert_eq!(told(time("2026-04-26T04:00:00Z")), told(later));
    let shape: Vec<usize> = first.split('-').map(str::len).collect();
    assert_eq!(shape, [8, 4, 4, 4, 12]);
}

#[test]
fn what_differs_has_another_id() {
    let request = |id: &str| Echo { request_id: Some(RequestId::new(id).unwrap()), ..echo() };
    let other_place = Place { name: "C-2".into(), ..place() };
    let other_day = Place { when: When { date: date(2026, 4, 26), ..place().when }, ..place() };
    let other_tenant = TenantId::new("acme2").unwrap();
    let of = |change: &dyn Fn(Unarchived<'_>) -> Event| with_unarchived(|news| change(news).id);
    let ids = [
        with_archived(|news| archived(&news).id),
        with_archived(|news| archived(&Archived { extension: "zip", ..news }).id),
        with_archived(|news| archived(&Archived { place: &other_place, ..news }).id),
        with_archived(|news| archived(&Archived { place: &other_day, ..news }).id),
        with_archived(|news| archived(&Archived { tenant: &other_tenant, ..news }).id),
        with_archived(|news| archived(&Archived { force: true, ..news }).id),
        with_archived(|news| {
            archived(&Archived { force: true, echo: &request("audit-2"), ..news }).id
        }),
        of(&|news| failed(&news)),
        of(&|news| absent(&news)),
        of(&|news| failed(&Unarchived { redrive: Some("r1"), ..news })),
        of(&|news| failed(&Unarchived { redrive: Some("r2"), ..news })),
        of(&|news| failed(&Unarchived { force: true, ..news })),
        of(&|news| failed(&Unarchived { place: None, ..news })),
        of(&|news| failed(&Unarchived { place: None, body_sha256: &[8; 32], ..news })),
        of(&|news| failed(&Unarchived { place: None, redrive: Some("r1"), ..news })),
        expanded(&tenant(), &RequestId::new("r").unwrap(), 2, Timestamp::UNIX_EPOCH, None).id,
        expanded(&tenant(), &RequestId::new("s").unwrap(), 2, Timestamp::UNIX_EPOCH, None).id,
        with_audited(|news| audited(&news).id),
        with_audited(|news| audited(&Audited { day: date(2026, 4, 26), ..news }).id),
        with_audited(|news| audited(&Audited { began: time("2026-04-27T03:30:00Z"), ..news }).id),
        with_audited(|news| audited(&Audited { tenant: &other_tenant, ..news }).id),
    ];
    let different: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:#?}");
}
