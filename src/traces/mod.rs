//! Traces: one recording followed through, as OpenTelemetry has it. Off unless the environment
//! names a collector (`settings`).
//!
//! What is at work on a message runs [`Span::during`] its span, so that whatever is done for it, down
//! to a request to the store, finds the place in the trace without being handed it: as the log
//! finds its subscriber. Where nothing is recorded no span is built, and what is said of one is not
//! even put together; but the trace that a message brings is handed on all the same.
//!
//! It must not know what the steps do, and nothing that waits for it may be a job.

mod context;
mod export;
mod otlp;
mod record;
mod sampler;
mod settings;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::time::Instant;

use self::export::Exporter;
use self::record::{Parent, Record};
use self::sampler::Sampler;
use crate::clock;
use crate::failure::Failure;

pub use self::context::{Context, SpanId, TRACEPARENT, TRACESTATE, TraceId};
pub use self::export::{ExportError, Exporting};
pub use self::record::Kind;
pub use self::settings::{Settings, read};

/// One a process, as the log is; none where nothing is exported.
static TRACER: OnceLock<Arc<Tracer>> = OnceLock::new();

tokio::task_local! {
    /// The span that the work of this task is a part of.
    static HERE: Option<Arc<Here>>;
}

struct Tracer {
    sampler: Sampler,
    exporter: Exporter,
}

/// Exports from now on what `settings` choose. Call it once.
///
/// # Errors
/// [`ExportError`], a text for people: nothing is exported then.
pub fn start(settings: &Settings) -> Result<Exporting, ExportError> {
    let (exporter, exporting) = export::start(settings)?;
    let tracer = Tracer { sampler: settings.sampler, exporter };
    if TRACER.set(Arc::new(tracer)).is_ok() {
        tracing::info!(to = export::place(settings), "traces are exported");
    }
    Ok(exporting)
}

/// A span that is open, or none; it ends with the last work that is done during it, or before.
#[must_use]
pub struct Span(Option<Arc<Here>>);

/// A place in a trace.
struct Here {
    context: Context,
    /// `None`: the trace is handed on, and nobody records it.
    recorded: Option<Recorded>,
}

struct Recorded {
    tracer: Arc<Tracer>,
    since: Instant,
    /// The same, in nanoseconds since 1970.
    started: u64,
    /// `None` once it has ended.
    record: Mutex<Option<Box<Record>>>,
}

impl Span {
    /// The work on a message that came `since`, in the trace that it brings, or in one of its own.
    pub fn of_message(
        brought: Option<Context>,
        since: Instant,
        name: impl FnOnce() -> String,
    ) -> Self {
        match TRACER.get() {
            Some(tracer) => Self::begin(tracer, brought, since, name),
            None => Self::handed_on(brought),
        }
    }

    /// The same, where there is nothing to record.
    pub fn handed_on(brought: Option<Context>) -> Self {
        Self(brought.map(|context| Arc::new(Here { context, recorded: None })))
    }

    fn begin(
        tracer: &Arc<Tracer>,
        brought: Option<Context>,
        since: Instant,
        name: impl FnOnce() -> String,
    ) -> Self {
        let context = brought.as_ref().map_or_else(Context::begin, Context::next);
        let taken = tracer.sampler.takes(context.trace, brought.as_ref());
        let context = context.sampled(taken);
        if !taken {
            return Self::handed_on(Some(context));
        }
        let parent = brought.map(|brought| Parent { span: brought.span, remote: true });
        let began = (since, nanoseconds(since));
        Self::open(tracer, context, parent, (Kind::Consumer, name().into()), began)
    }

    /// A part of what is done here.
    pub fn child(kind: Kind, name: impl FnOnce() -> Cow<'static, str>) -> Self {
        Self::within(None, (kind, name), Instant::now)
    }

    /// The same, begun `since`.
    pub fn child_since(
        since: Instant,
        kind: Kind,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        Self::within(None, (kind, name), || since)
    }

    /// A part of what is done here, whose place in the trace was told before ([`next`]).
    pub fn announced(
        place: Option<&Context>,
        kind: Kind,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        Self::within(place, (kind, name), Instant::now)
    }

    fn within(
        place: Option<&Context>,
        (kind, name): (Kind, impl FnOnce() -> Cow<'static, str>),
        since: impl FnOnce() -> Instant,
    ) -> Self {
        with_here(|here| {
            let recorded = here.recorded.as_ref()?;
            let context = place.cloned().unwrap_or_else(|| here.context.next());
            let parent = Some(Parent { span: here.context.span, remote: false });
            let since = since();
            // One look at the clock a message: its parts are in order whatever that does meanwhile.
            let began = (since, recorded.at(since));
            Some(Self::open(&recorded.tracer, context, parent, (kind, name()), began))
        })
        .unwrap_or(Self(None))
    }

    fn open(
        tracer: &Arc<Tracer>,
        context: Context,
        parent: Option<Parent>,
        (kind, name): (Kind, Cow<'static, str>),
        (since, started): (Instant, u64),
    ) -> Self {
        let (attributes, error) = (Vec::new(), None);
        let record = Record {
            context: context.clone(),
            parent,
            name,
            kind,
            started,
            ended: started,
            attributes,
            error,
        };
        let record = Mutex::new(Some(Box::new(record)));
        let recorded = Recorded { tracer: Arc::clone(tracer), since, started, record };
        Self(Some(Arc::new(Here { context, recorded: Some(recorded) })))
    }

    /// Says something of it: only what may be in the log. Not called where nothing is recorded.
    pub fn tell(&self, what: impl FnOnce(&mut Record)) {
        if let Some(here) = &self.0 {
            here.tell(what);
        }
    }

    /// Ends it as `result` says.
    pub fn end<T>(&self, result: Result<T, &Failure>) {
        if let Err(failure) = result {
            self.fail(failure);
        }
        self.close();
    }

    /// It failed.
    pub fn fail(&self, failure: &Failure) {
        self.tell(|record| {
            record.fail(failure.reason.as_str().to_owned(), failure.detail.as_str());
        });
    }

    /// Ends it.
    pub fn close(&self) {
        if let Some(here) = &self.0 {
            here.close();
        }
    }

    /// Whatever `work` does is a part of it; where there is none, of what is done here.
    pub fn during<W: Future>(&self, work: W) -> impl Future<Output = W::Output> + use<W> {
        HERE.scope(self.0.clone().or_else(here), work)
    }
}

/// Work that goes on in another task, in the same place.
pub fn carried<W: Future>(work: W) -> impl Future<Output = W::Output> {
    HERE.scope(here(), work)
}

/// Says something of the span that this is a part of.
pub fn tell(what: impl FnOnce(&mut Record)) {
    with_here(|here| {
        here.tell(what);
        Some(())
    });
}

/// Ends the span that this is a part of.
pub fn close() {
    with_here(|here| {
        here.close();
        Some(())
    });
}

/// Where this is, for whom it is handed on to.
pub fn context() -> Option<Context> {
    with_here(|here| Some(here.context.clone()))
}

/// Where the next part of this will be, for what has to say so before it begins
/// ([`Span::announced`]).
pub fn next() -> Option<Context> {
    with_here(|here| {
        let is_recorded = here.recorded.is_some();
        Some(if is_recorded { here.context.next() } else { here.context.clone() })
    })
}

/// The trace that this is a part of.
pub fn trace_id() -> Option<TraceId> {
    with_here(|here| Some(here.context.trace))
}

fn here() -> Option<Arc<Here>> {
    HERE.try_with(Clone::clone).ok().flatten()
}

fn with_here<T>(what: impl FnOnce(&Here) -> Option<T>) -> Option<T> {
    HERE.try_with(|here| here.as_deref().and_then(what)).ok().flatten()
}

/// The time of day, in nanoseconds since 1970, that was at `then`.
fn nanoseconds(then: Instant) -> u64 {
    let now = u128::try_from(clock::now().as_nanosecond()).unwrap_or_default();
    u64::try_from(now.saturating_sub(then.elapsed().as_nanos())).unwrap_or(u64::MAX)
}

impl Here {
    fn tell(&self, what: impl FnOnce(&mut Record)) {
        let Some(recorded) = &self.recorded else { return };
        let mut record = recorded.record.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = &mut *record {
            what(record);
        }
    }

    fn close(&self) {
        let Some(recorded) = &self.recorded else { return };
        let mut record = recorded.record.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut record) = record.take() {
            record.ended = recorded.at(Instant::now());
            recorded.tracer.exporter.take(*record);
        }
    }
}

impl Recorded {
    /// An instant after it began, in nanoseconds since 1970.
    fn at(&self, then: Instant) -> u64 {
        let after = then.saturating_duration_since(self.since).as_nanos();
        self.started.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
