//! What holds for any message.

use proptest::prelude::*;

use super::dumps::dump_of;
use super::look::agrees;
use super::*;

/// JSON in which every string and number is a phone number of a kind that no detail can have.
fn phone_numbers() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        Just(json!(4_915_550_123_u64)),
        Just(json!("+49-1555-0123")),
    ];
    let names = prop_oneof![
        "type|tenant|callId|fileName|ccId|callBegin|callEnd|metadata|force|requestId|recordings",
        "data|data_base64|specversion",
        Just("+49-1555-0123".to_owned()),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn recordings()(
        call_id in "[^\\p{Cc}]{1,25}",
        file_name in "|[^\\p{Cc}]{0,200}[a-z]",
        cc_id in "|[^\\p{Cc}]{1,64}",
        seconds in prop::collection::vec((0..=NOW.as_second(), 0..1_000_000_000_i32), 0..3),
        metadata in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
    ) -> Value {
        let times = seconds.iter().map(|(second, part)| Timestamp::new(*second, *part).unwrap().to_string());
        let times: Vec<_> = times.collect();
        json!({
            "callId": call_id, "fileName": file_name, "ccId": cc_id, "metadata": metadata,
            "callBegin": times.first(), "callEnd": times.get(1),
        })
    }
}

proptest! {
    #[test]
    fn an_item_says_what_its_dump_did(list in prop::collection::vec(recordings(), 2..4)) {
        let message = dump_of(json!(list));
        let dump = dump(parse_json(&message).unwrap());
        let told = look(message.to_string().as_bytes(), NO_HINTS);
        prop_assert_eq!(told, Some(dump.clone().into()));
        for ((item, wanted), value) in dump.clone().into_items().zip(&dump.recordings).zip(&list) {
            let item = recording(parse(&item, NO_HINTS, NOW).unwrap());
            prop_assert_eq!(&item.wanted, wanted);
            prop_assert_eq!(&json!(item.wanted.call_id), &value["callId"]);
            prop_assert_eq!(&json!(item.wanted.metadata), &value["metadata"]);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_not_panicked_over(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&body, NO_HINTS, NOW);
    }

    #[test]
    fn no_detail_quotes_a_value(
        value in phone_numbers(),
        kind in prop::sample::select(vec![
            "call.completed", "recording.dump-requested", "recording.dump-item",
        ]),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = dump_of(json!([value]));
        if let Value::Object(fields) = &value {
            message.as_object_mut().unwrap().extend(fields.clone());
        }
        message["type"] = json!(kind);
        let whole = message.to_string();
        let mut ends = whole.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
        ends.push(whole.len());
        let cut = ends[cut.index(ends.len())];
        for body in [&whole, &whole[..cut]] {
            agrees(body.as_bytes(), NO_HINTS)?;
            let Err(rejected) = parse(body.as_bytes(), NO_HINTS, NOW) else { continue };
            let told = format!("{}", rejected.failure);
            prop_assert!(!told.contains("1555") && !told.contains("915550123"), "{told}");
        }
    }
}
