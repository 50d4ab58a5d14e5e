//! Where a message stands in a trace, as its sender wrote it and as we hand it on: the headers
//! `traceparent` and `tracestate` of the W3C (<https://www.w3.org/TR/trace-context/>). Pure.

use std::fmt;
use std::sync::Arc;

/// The header, and the extension attribute of an event.
pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// Bytes of a `traceparent` of the version that there is.
const LENGTH: usize = 55;
/// What every implementation hands on of a `tracestate`; ours no more.
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;

const SAMPLED: u8 = 0x01;
/// The trace's id was drawn at random.
const RANDOM: u8 = 0x02;

/// Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

/// One span of one trace, as those after it have to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    pub span: SpanId,
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceId {
    pub(super) fn draw() -> Self {
        Self(fastrand::u128(1..))
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    pub(super) fn draw() -> Self {
        Self(fastrand::u64(1..))
    }

    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Context {
    /// What a message brings; `None` where that is no trace. A `tracestate` that is none is dropped,
    /// as the W3C has it: the trace goes on without.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let text = traceparent.trim_matches([' ', '\t']);
        // A later version may have more at its end, behind a dash.
        let (known, more) = text.split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32)?;
        let span = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        let ends = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        if !ends || fields.next().is_some() || trace == 0 || span == 0 {
            return None;
        }
        let state = tracestate.map(|state| state.trim_matches([' ', '\t']));
        Some(Self {
            trace: TraceId(trace),
            span: SpanId(u64::try_from(span).ok()?),
            flags: u8::try_from(flags).ok()? & (SAMPLED | RANDOM),
            state: state.filter(|state| is_state(state)).map(Arc::from),
        })
    }

    /// The first span of a trace of our own.
    pub(super) fn begin() -> Self {
        let (trace, span) = (TraceId::draw(), SpanId::draw());
        Self { trace, span, flags: RANDOM, state: None }
    }

    /// Another span of the same trace.
    pub(super) fn next(&self) -> Self {
        Self { span: SpanId::draw(), ..self.clone() }
    }

    pub(super) fn sampled(self, sampled: bool) -> Self {
        let flags = if sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        Self { flags, ..self }
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }

    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Hex digits in lower case, exactly so many.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let right = text.len() == digits && text.bytes().all(is_hex);
    right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Members `key=value`, with commas; there may be empty ones.
fn is_state(text: &str) -> bool {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t']));
    let is_key = |key: &str| {
        let may = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte)
        };
        !key.is_empty() && key.bytes().all(may)
    };
    let is_value = |value: &str| {
        value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b",=".contains(&byte))
    };
    let is_member = |member: &str| {
        member.is_empty()
            || member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value))
    };
    let named = members().filter(|member| !member.is_empty()).count();
    text.len() <= MAX_STATE && (1..=MAX_MEMBERS).contains(&named) && members().all(is_member)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn parsed(traceparent: &str) -> Option<String> {
        Context::parse(traceparent, None).map(|context| context.traceparent())
    }

    #[test]
    fn what_the_w3c_calls_valid_is_read_and_written_as_the_version_that_there_is() {
        let of = |flags: &str| format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        for (sent, handed_on) in [("01", "01"), ("00", "00"), ("03", "03"), ("ff", "03")] {
            assert_eq!(parsed(&of(sent)), Some(of(handed_on)), "{sent}");
        }
        assert_eq!(parsed(&format!(" {}\t", of("01"))), Some(of("01")));
        // Later versions, with and without what they have more.
        for later in ["cc-", "01-"] {
            let later = of("01").replacen("00-", later, 1);
            assert_eq!(parsed(&later), Some(of("01")));
            assert_eq!(parsed(&format!("{later}-what-comes")), Some(of("01")));
            assert_eq!(parsed(&format!("{later}.more")), None);
        }
    }

    #[test]
    fn what_is_no_trace_begins_none() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let upper = good.to_ascii_uppercase();
        let (short, long) = (&good[..54], format!("{good}-00"));
        let no_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let no_span = format!("00-{TRACE}-{}-01", "0".repeat(16));
        let signed = good.replacen("4bf9", "+bf9", 1);
        let shifted = format!("00-{TRACE}0-0f067aa0ba902b7-01");
        let version = good.replacen("00-", "ff-", 1);
        let wide = format!("{}\u{e9}", &good[..54]);
        for bad in [
            "", "00", short, &long, &upper, &no_trace, &no_span, &signed, &shifted, &version, &wide,
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_state_that_is_none_is_dropped_and_the_trace_goes_on() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let state = |state: &str| {
            let context = Context::parse(&good, Some(state)).unwrap();
            context.tracestate().map(str::to_owned)
        };
        for kept in ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1, ,b=2", "fw529a3039@dt=FfAb;x"]
        {
            assert_eq!(state(kept), Some(kept.to_owned()));
        }
        let many: Vec<_> = (0..33).map(|at| format!("k{at}=1")).collect();
        let (many, long) = (many.join(","), format!("a={}", "x".repeat(MAX_STATE)));
        for dropped in ["", ",", "a", "=1", "A=1", "a=1=2", "a=\u{e9}", "a=\n", &many, &long] {
            assert_eq!(state(dropped), None, "{dropped:?}");
        }
    }

    #[test]
    fn another_span_of_the_same_trace_hands_on_its_state() {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let parent = Context::parse(&parent, Some("rojo=1")).unwrap();
        let next = parent.next();
        assert_eq!((next.trace, next.tracestate()), (parent.trace, Some("rojo=1")));
        assert_ne!(next.span, parent.span);
        assert!(next.is_sampled() && !next.clone().sampled(false).is_sampled());
        let own = Context::begin().sampled(true);
        assert_eq!(Context::parse(&own.traceparent(), None), Some(own));
    }
}
