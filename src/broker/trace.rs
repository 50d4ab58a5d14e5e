//! The place in a trace that a message brings, and the one that it is handed on with: the headers of
//! the W3C. Pure.

use lapin::types::{AMQPValue, FieldTable, LongString};

use crate::traces::{Context, TRACEPARENT, TRACESTATE};

/// `None` where there is none, or none that can be read.
pub(super) fn brought(headers: &FieldTable) -> Option<Context> {
    let text = |name| match headers.inner().get(name)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    };
    Context::parse(text(TRACEPARENT)?, text(TRACESTATE))
}

/// Writes where it is handed on from.
pub(super) fn write(headers: &mut FieldTable, place: &Context) {
    let words = |text: &str| AMQPValue::LongString(LongString::from(text.as_bytes().to_vec()));
    headers.insert(TRACEPARENT.into(), words(&place.traceparent()));
    if let Some(state) = place.tracestate() {
        headers.insert(TRACESTATE.into(), words(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_no_text_is_no_trace() {
        let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let place = Context::parse(place, Some("rojo=1"));
        let mut headers = FieldTable::default();
        assert_eq!(brought(&headers), None);
        write(&mut headers, place.as_ref().unwrap());
        assert_eq!(brought(&headers), place);
        headers.insert(TRACEPARENT.into(), AMQPValue::LongString(vec![0xff].into()));
        assert_eq!(brought(&headers), None);
        headers.insert(TRACEPARENT.into(), AMQPValue::Boolean(true));
        assert_eq!(brought(&headers), None);
    }
}
