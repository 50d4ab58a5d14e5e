use std::collections::VecDeque;
use std::task::Waker;

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::AMQPValue;
use proptest::prelude::*;

use super::*;

const FRAME_MAX: usize = 131_072;

/// A stream that yields these pieces, one a read, and is not ready before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    ready: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.ready = !self.ready;
        if !self.ready {
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else { return Poll::Ready(Ok(0)) };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.pieces.push_front(piece.split_off(count));
        }
        Poll::Ready(Ok(count))
    }
}

/// What lapin gets where the broker's bytes come in these pieces and it reads `room` at a time.
fn through<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, room: usize) -> (Vec<u8>, Arc<Marks>) {
    let pieces = pieces.into_iter().map(<[u8]>::to_vec).collect();
    let marks = Arc::<Marks>::default();
    let stream = Pieces { pieces, ready: false };
    let mut guarded = Guarded::new(stream, FRAME_MAX, Arc::clone(&marks));
    let mut context = Context::from_waker(Waker::noop());
    let (mut came, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match Pin::new(&mut guarded).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(0)) => return (came, marks),
            Poll::Ready(Ok(count)) => came.extend_from_slice(&buffer[..count]),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => {}
        }
    }
}

fn mended(bytes: &[u8]) -> (Vec<u8>, Flaws) {
    let (came, marks) = through([bytes], 1 << 22);
    (came, marks.take(CHANNEL, TAG))
}

const CHANNEL: u16 = 1;
const TAG: u64 = 7;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &CHANNEL.to_be_bytes(), &length.to_be_bytes(), payload, &[0xCE]].concat()
}

fn short(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&short(name)[..], value.as_ref()].concat()
}

fn deliver(key: impl AsRef<[u8]>) -> Vec<u8> {
    let tag = TAG.to_be_bytes();
    let parts = [&[0, 60, 0, 60][..], &short("ctag"), &tag, &[0], &short("calls"), &short(key)];
    frame(1, &parts.concat())
}

fn header(flags: u16, list: impl AsRef<[u8]>) -> Vec<u8> {
    let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    frame(2, &[&fixed[..], &flags.to_be_bytes(), list.as_ref()].concat())
}

const BODY: &[u8] = b"\x03\0\x01\0\0\0\x02{}\xce";
const HEADERS: u16 = 1 << 13;
const TYPE: u16 = 1 << 5;

/// A delivery of a message with these properties.
fn delivery(flags: u16, list: impl AsRef<[u8]>) -> Vec<u8> {
    [&deliver("call.completed")[..], &header(flags, list), BODY].concat()
}

fn headers(fields: impl AsRef<[u8]>) -> Vec<u8> {
    delivery(HEADERS | TYPE, [long(fields), short("call.completed")].concat())
}

/// What lapin's own parser makes of the properties in a delivery.
fn read(delivery: &[u8]) -> BasicProperties {
    let mut rest = delivery;
    loop {
        let head = Head::of(rest).expect("a frame");
        let (frame, tail) = rest.split_at_checked(head.length).expect("a whole frame");
        if head.kind == Kind::Header {
            assert!(frame.len() <= FRAME_MAX, "{} bytes", frame.len());
            let list = &frame[frame::HEAD + 12..frame.len() - 1];
            let (left, properties) = parse_properties(list).expect("lapin reads it");
            assert!(left.is_empty(), "{left:?} is left");
            assert_eq!(frame.last(), Some(&0xCE));
            assert_eq!(tail, BODY, "the body is as it was");
            return properties;
        }
        rest = tail;
    }
}

fn flaws<const N: usize>(expected: [(&'static str, Flaw); N]) -> Flaws {
    let mut flaws = Flaws::default();
    for (property, flaw) in expected {
        flaws.add(property, flaw);
    }
    flaws
}

/// A value of each type that RabbitMQ knows.
fn every_type() -> Vec<u8> {
    let values: [&[u8]; 19] = [
        b"t\x01",
        b"b\xff",
        b"B\xff",
        b"s\xff\xff",
        b"U\xff\xff",
        b"u\xff\xff",
        b"I\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff",
        b"L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"f\xff\xff\xff\xff",
        b"d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"T\xff\xff\xff\xff\xff\xff\xff\xff",
        b"D\xff\xff\xff\xff\xff",
        b"S\0\0\0\x02\xff\xfe",
        b"x\0\0\0\x02\xff\xfe",
        b"V",
        b"A\0\0\0\x03Vt\x01",
        b"F\0\0\0\x04\x01nt\x01",
    ];
    values.iter().flat_map(|value| field([value[0]], value)).collect()
}

#[test]
fn what_lapin_can_read_is_not_touched() {
    let bytes = headers(every_type());
    let (came, found) = mended(&bytes);
    assert_eq!(came, bytes);
    assert!(found.is_empty(), "{found}");
    assert_eq!(read(&came).headers().as_ref().unwrap().inner().len(), 19);
}

#[test]
fn bytes_that_are_not_utf_8_become_question_marks_in_every_property() {
    let shorts = [
        (15, "content_type"),
        (14, "content_encoding"),
        (10, "correlation_id"),
        (9, "reply_to"),
        (8, "expiration"),
        (7, "message_id"),
        (5, "type"),
        (4, "user_id"),
        (3, "app_id"),
        (2, "cluster_id"),
    ];
    for (bit, name) in shorts {
        let bytes = delivery(1 << bit, short(b"M\xfcller \xe2\x82"));
        let (came, found) = mended(&bytes);
        assert_eq!(came, delivery(1 << bit, short("M?ller ??")), "{name}");
        assert_eq!(found, flaws([(name, Flaw::NotUtf8)]));
        read(&came);
    }
    let (came, found) = mended(&headers(field(b"\xe4", b"F\0\0\0\x03\x01\xe4V")));
    assert_eq!(came, headers(field("?", b"F\0\0\0\x03\x01?V")));
    assert_eq!(found, flaws([("headers", Flaw::NotUtf8)]));
}

#[test]
fn a_method_that_quotes_a_producer_is_mended_and_its_message_told_of() {
    let header = header(TYPE, short("call.completed"));
    let bytes = |key: &[u8]| [&deliver(key)[..], &header, BODY].concat();
    let (came, found) = mended(&bytes(b"call.\xe9"));
    assert_eq!(came, bytes(b"call.?"));
    assert_eq!(found, flaws([("routing_key", Flaw::NotUtf8)]));

    let returned = |text: &[u8]| {
        let parts = [&[0, 60, 0, 50, 1, 56][..], &short(text), &short(text), &short(text)];
        frame(1, &parts.concat())
    };
    assert_eq!(mended(&returned(b"\xe9")).0, returned(b"?"));
    let closed =
        |text: &[u8]| frame(1, &[&[0, 20, 0, 40, 1, 56][..], &short(text), &[0; 4]].concat());
    assert_eq!(mended(&closed(b"no queue '\xe2")).0, closed(b"no queue '?"));
}

fn nested(kind: u8, levels: usize) -> Vec<u8> {
    (0..levels).fold(vec![b'V'], |inner, _| {
        let inner = if kind == b'F' { field("", inner) } else { inner };
        [&[kind][..], &long(inner)].concat()
    })
}

fn depth(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::FieldArray(values) => 1 + values.as_slice().first().map_or(0, depth),
        AMQPValue::FieldTable(table) => 1 + table.inner().values().next().map_or(0, depth),
        _ => 0,
    }
}

#[test]
fn what_is_nested_deeper_than_32_levels_becomes_a_string_of_the_same_length() {
    for kind in [b'A', b'F'] {
        let bytes = headers(field("deep", nested(kind, 32)));
        assert_eq!(mended(&bytes).0, bytes);
        for levels in [33, 5_000, 10_000] {
            let bytes = headers(field("deep", nested(kind, levels)));
            let (came, found) = mended(&bytes);
            assert_eq!(came.len(), bytes.len());
            assert_eq!(found, flaws([("headers", Flaw::TooDeep)]));
            let properties = read(&came);
            assert_eq!(depth(&properties.headers().as_ref().unwrap().inner()["deep"]), 32);
        }
    }
}

#[test]
fn of_headers_that_pass_the_frame_the_largest_are_left_out() {
    let value = |length: usize| [&b"S"[..], &long(vec![b'v'; length])].concat();
    let fields: Vec<Vec<u8>> = vec![
        field("small", b"V"),
        field("large", value(80_000)),
        field("callvault-attempts", b"l\0\0\0\0\0\0\0\x02"),
        field("larger", value(90_000)),
        field("last", b"t\x01"),
    ];
    let (came, found) = mended(&headers(fields.concat()));
    assert_eq!(found, flaws([("headers", Flaw::TooLarge)]));
    let left = [&fields[0], &fields[1], &fields[2], &fields[4]].map(|field| field.clone()).concat();
    assert_eq!(came, headers(left), "and what stands behind them is where it was");
    read(&came);

    // A broker that takes less.
    let tuned = frame(1, &[0, 10, 0, 30, 7, 255, 0, 0, 0x20, 0, 0, 60]);
    let fields = [field("a", value(9_000)), field("b", b"V")];
    let (came, _) = mended(&[tuned.clone(), headers(fields.concat())].concat());
    assert_eq!(came, [tuned, headers(&fields[1])].concat());
}

#[test]
fn of_headers_larger_than_is_kept_what_came_is_kept() {
    let huge = [&b"S"[..], &long(vec![b'v'; 2 * KEPT])].concat();
    let bytes = headers([field("first", b"V"), field("huge", huge)].concat());
    // In pieces, so that the frame is never seen whole.
    let (came, marks) = through(bytes.chunks(50_000), 1 << 22);
    let found = marks.take(CHANNEL, TAG);
    assert!(found.iter().any(|flaw| flaw == ("headers", Flaw::Broken)), "{found}");
    let properties = read(&came);
    assert_eq!(properties.headers().as_ref().unwrap().inner().len(), 1);
    assert_eq!(came[came.len() - BODY.len()..], *BODY);
}

#[test]
fn of_a_table_that_cannot_be_read_what_stands_before_is_kept() {
    let good = field("good", b"t\x01");
    for bad in [
        &b"\x03bad?"[..],      // a type that nobody knows
        b"\x03badS\0\0\0\xff", // longer than its table
        b"\x03badl\0\0",       // shorter than its type
        b"\xffbad",            // a name longer than its table
        b"\x03bad",            // no value
    ] {
        let (came, found) = mended(&headers([&good[..], bad].concat()));
        assert_eq!(came, headers(&good), "{bad:?}");
        assert_eq!(found, flaws([("headers", Flaw::Broken)]));
        // Within another it is a string.
        let inner = |kind| [&field("in", [kind])[..], &long([&good[..], bad].concat())].concat();
        let (came, found) = mended(&headers(inner(b'F')));
        assert_eq!(came, headers(inner(b'S')), "{bad:?}");
        assert_eq!(found, flaws([("headers", Flaw::Broken)]));
    }
    // A table that is longer than its frame takes what follows with it.
    let (came, _) = mended(&delivery(HEADERS | TYPE, b"\0\0\0\xff\x04goodV\x04type"));
    assert_eq!(read(&came).kind(), &None);
    // More than the flags announce.
    assert_eq!(mended(&delivery(TYPE, b"\x01tmore")).0, delivery(TYPE, b"\x01t"));
}

#[test]
fn marks_are_told_once_and_end_with_their_channel() {
    let marks = Marks::default();
    marks.note(1, 7, flaws([("app_id", Flaw::NotUtf8)]));
    marks.note(2, 7, flaws([("type", Flaw::NotUtf8), ("headers", Flaw::TooDeep)]));
    marks.begin(1);
    assert!(marks.take(1, 7).is_empty());
    let told = marks.take(2, 7).to_string();
    assert_eq!(told, "headers (nested deeper than 32 levels), type (not UTF-8)");
    assert!(marks.take(2, 7).is_empty());
}

#[test]
fn no_more_is_read_while_too_many_bytes_of_bodies_are_in_hand() {
    const PIECE: usize = 1000;
    let header = |size: u64| frame(2, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat());
    let content =
        |size: u64, pieces: usize| [header(size), frame(3, &[7; PIECE]).repeat(pieces)].concat();
    // A method, a heartbeat and what is empty are no load.
    let before = [frame(1, &[0; 30]), frame(8, &[]), header(0)].concat();
    let [first, second] = [content(3000, 3), content(2000, 2)];
    for size in [1, 7, 100, 1008, 9000] {
        let came = [&before[..], &first, &second].concat();
        let stream =
            Pieces { pieces: came.chunks(size).map(<[u8]>::to_vec).collect(), ready: false };
        let marks = Arc::new(Marks::bounded(2500));
        let mut guarded = Guarded::new(stream, FRAME_MAX, Arc::clone(&marks));
        let mut read = || {
            let mut buffer = vec![0; PIECE];
            let mut context = Context::from_waker(Waker::noop());
            // A stream that is not ready, and a frame that is kept back, take some polls.
            (0..64).find_map(|_| {
                match Pin::new(&mut guarded).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(count) => Some(count.expect("no error")),
                    Poll::Pending => None,
                }
            })
        };
        let mut count = 0;
        while let Some(more) = read() {
            count += more;
        }
        let whole = before.len() + first.len();
        assert!((whole..whole + size.max(PIECE)).contains(&count), "{count} bytes, {size} a piece");
        let burden = marks.claim(CHANNEL, 3000);
        assert_eq!(read(), None, "it is in hand");
        // One may find the stream not ready.
        let pulse = (0..9).find_map(|_| {
            marks.pulse();
            read()
        });
        drop(burden);
        count += pulse.expect("a pulse lets some bytes pass");
        while let Some(more @ 1..) = read() {
            count += more;
        }
        assert_eq!(count, came.len(), "{size} a piece");
    }
}

#[test]
fn what_is_no_amqp_passes_as_it_is() {
    let bytes = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    for size in 1..bytes.len() {
        assert_eq!(through(bytes.chunks(size), 5).0, bytes);
    }
}

proptest! {
    /// Bytes over a good delivery, anywhere in its properties.
    #[test]
    fn lapin_reads_whatever_comes_out(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..20),
        flags in any::<u16>(),
        sizes in proptest::collection::vec(1usize..40, 1..30),
        room in 1usize..100,
    ) {
        let nest = field("nest", nested(b'F', 40));
        let list = [long([every_type(), nest].concat()), short("call.completed")].concat();
        let mut list = [&[2, 0][..], &list].concat();
        let length = list.len();
        for (place, byte) in changes {
            list[place % length] = byte;
        }
        let bytes = delivery(flags, list);

        let (came, found) = mended(&bytes);
        read(&came);
        if found.iter().all(|(_, flaw)| matches!(flaw, Flaw::NotUtf8 | Flaw::TooDeep)) {
            prop_assert_eq!(came.len(), bytes.len());
        }
        // What was mended once is good.
        let (again, none) = mended(&came);
        prop_assert_eq!(&again, &came);
        prop_assert!(none.is_empty(), "{}", none);
        // However it is cut.
        let mut sizes = sizes.into_iter().cycle();
        let mut rest = &bytes[..];
        let pieces = std::iter::from_fn(|| {
            let (piece, tail) = rest.split_at(sizes.next()?.min(rest.len()));
            rest = tail;
            Some(piece).filter(|piece| !piece.is_empty())
        });
        let (cut, marks) = through(pieces, room);
        prop_assert_eq!(&cut, &came);
        prop_assert_eq!(marks.take(CHANNEL, TAG), found);
    }
}
