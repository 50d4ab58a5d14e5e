use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::failure::Reason;
use crate::traces::sampler::Share;

const BROUGHT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn brought() -> Option<Context> {
    Context::parse(BROUGHT, Some("rojo=1"))
}

/// One that nobody exports, and what it was left, in the order in which it ended.
fn tracer(share: Share) -> (Arc<Tracer>, tokio::sync::mpsc::Receiver<Record>) {
    let (exporter, spans) = Exporter::nowhere(8);
    let sampler = Sampler { share, parent_based: true };
    (Arc::new(Tracer { sampler, exporter }), spans)
}

fn begin(tracer: &Arc<Tracer>, brought: Option<Context>) -> Span {
    Span::begin(tracer, brought, Instant::now(), || "process".to_owned())
}

#[tokio::test(start_paused = true)]
async fn parts_are_of_the_span_that_they_are_done_in_and_all_of_one_trace() {
    let (tracer, mut spans) = tracer(Share::All);
    let span = begin(&tracer, brought());
    let work = span.during(async {
        tokio::time::advance(Duration::from_millis(5)).await;
        let store = Span::child(Kind::Internal, || "store".into());
        let put = store.during(async {
            let put = Span::child(Kind::Client, || "put".into());
            tokio::time::advance(Duration::from_millis(7)).await;
            put.close();
        });
        put.await;
        store.end::<()>(Err(&Failure::permanent(Reason::STORE_CONFLICT, "another is there")));
        let place = next();
        let event = Span::announced(place.as_ref(), Kind::Producer, || "publish".into());
        event.close();
        tell(|record| {
            record.set("callvault.outcome", "dead");
        });
        (place, context(), trace_id())
    });
    drop(span);
    let (place, here, trace) = work.await;
    let mut next = || spans.try_recv().unwrap();
    let (put, store, publish, process) = (next(), next(), next(), next());
    assert!(spans.try_recv().is_err());

    let sent = brought().unwrap();
    for record in [&put, &store, &publish, &process] {
        assert_eq!(record.context.trace, sent.trace);
        assert_eq!(record.context.tracestate(), Some("rojo=1"));
    }
    assert_eq!((here.unwrap(), trace), (process.context.clone(), Some(sent.trace)));
    assert_eq!(place.unwrap(), publish.context);
    let of = |record: &Record| record.parent.map(|parent| (parent.span, parent.remote));
    assert_eq!(of(&process), Some((sent.span, true)));
    assert_eq!(of(&store), Some((process.context.span, false)));
    assert_eq!(of(&put), Some((store.context.span, false)));
    assert_eq!(of(&publish), Some((process.context.span, false)));
    assert_eq!(put.ended - put.started, 7_000_000);
    assert!(process.ended - process.started >= 12_000_000);
    assert_eq!(store.error.as_deref(), Some("another is there"));
    assert_eq!(store.attributes, [("error.type", "store.conflict".to_owned().into())]);
    assert_eq!((put.error, process.error), (None, None));
    assert_eq!(process.attributes, [("callvault.outcome", "dead".into())]);
}

#[test]
fn where_nothing_is_recorded_no_span_is_built_and_the_trace_is_handed_on() {
    let unsaid = |_: &mut Record| panic!("nothing is put together");
    let unnamed = || -> Cow<'static, str> { panic!("nothing is named") };
    // Without any trace.
    let none = Span::handed_on(None).during(async {
        Span::child(Kind::Client, unnamed).tell(unsaid);
        tell(unsaid);
        (context(), next(), trace_id())
    });
    assert_eq!(none.now_or_never(), Some((None, None, None)));
    // In that of the sender.
    let handed_on = Span::handed_on(brought()).during(async {
        let part = Span::child(Kind::Client, unnamed);
        part.tell(unsaid);
        tell(unsaid);
        part.during(async { (context(), next()) }).await
    });
    assert_eq!(handed_on.now_or_never(), Some((brought(), brought())));
}

#[test]
fn what_is_not_sampled_is_handed_on_as_not_sampled() {
    let (tracer, mut spans) = tracer(Share::None);
    let span = begin(&tracer, None);
    let place = span.during(async { next() }).now_or_never().flatten().unwrap();
    assert!(!place.is_sampled() && place.traceparent().ends_with("-02"), "{place:?}");
    // Its sender wants this one.
    let span = begin(&tracer, brought());
    drop(span);
    assert_eq!(spans.try_recv().unwrap().context.trace, brought().unwrap().trace);
    assert!(spans.try_recv().is_err());
}

#[test]
fn a_span_that_is_dropped_has_ended_and_one_without_room_is_counted() {
    let (tracer, mut spans) = tracer(Share::All);
    for _ in 0..10 {
        drop(begin(&tracer, None));
    }
    assert_eq!(std::iter::from_fn(|| spans.try_recv().ok()).count(), 8);
    assert_eq!(tracer.exporter.lost(), 2);
}
