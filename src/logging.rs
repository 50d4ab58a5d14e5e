//! Where log lines go and what they look like: stderr, as text for people or JSON for machines.
//!
//! What is in a line is for those who write it; nothing here may widen it. Where call ids are to be
//! hashed, of libraries no more is written than what they find worth telling, since at debug they may
//! show a key as a part of a URL. The AMQP client is kept
//! silent whatever `log.level` says: it writes whole frames, so the broker's password and message
//! bodies, at trace, and a returned message with its body at warn (contract 1.8). So are those who
//! look for the store's credentials: they write what a `credential_process` printed, at warn.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat, LogIdentifiers};
use crate::traces;

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log.level: {0}; write a level such as \"info\", or \"warn,callvault=debug\"")]
    Level(#[from] ParseError),
    #[error("logging was already set up: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets the logging of the process. Call it once, before the first line.
///
/// # Errors
/// [`LoggingError::Level`] if `log.level` is no filter.
pub fn init(log: &Log) -> Result<(), LoggingError> {
    let colour = io::stderr().is_terminal() && !no_colour();
    subscriber(log, colour, io::stderr)?.try_init()?;
    Ok(())
}

/// <https://no-color.org>: set and not empty.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn subscriber<W>(
    log: &Log,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&log.level)?;
    let writer = Traced { writer, format: log.format };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(writer)
        .log_internal_errors(false);
    let most = match log.identifiers {
        LogIdentifiers::Plain => LevelFilter::DEBUG,
        LogIdentifiers::Hashed => LevelFilter::INFO,
    };
    let discreet = move |line: &Metadata<'_>| is_discreet(line, most);
    Ok(match log.format {
        LogFormat::Text => {
            let fields = format::debug_fn(field).delimited(" ");
            let lines = lines.with_target(false).fmt_fields(fields);
            Box::new(lines.finish().with(filter_fn(discreet)))
        }
        LogFormat::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish()
                .with(filter_fn(discreet)),
        ),
    })
}

/// Where lines are written, each with the trace that it belongs to, if there is one.
struct Traced<W> {
    writer: W,
    format: LogFormat,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Traced<W> {
    type Writer = TracedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        TracedLine { writer: self.writer.make_writer(), format: self.format }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        TracedLine { writer: self.writer.make_writer_for(line), format: self.format }
    }
}

struct TracedLine<W> {
    writer: W,
    format: LogFormat,
}

impl<W: io::Write> io::Write for TracedLine<W> {
    /// A line comes whole, and with its end.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let end: &[u8] = match self.format {
            LogFormat::Text => b"\n",
            LogFormat::Json => b"}\n",
        };
        match (traces::trace_id(), line.strip_suffix(end)) {
            (Some(trace), Some(said)) => {
                let field = match self.format {
                    LogFormat::Text => format!(" trace_id={trace}"),
                    LogFormat::Json => format!(",\"trace_id\":\"{trace}\""),
                };
                self.writer.write_all(&[said, field.as_bytes(), end].concat())?;
            }
            _ => self.writer.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A field of a line for people. A value with blanks in it stands in quotes, or nobody could tell
/// where it ends.
fn field(line: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    if field.name() == "message" {
        return line.write_str(&harmless(&value));
    }
    match line.has_ansi_escapes() {
        true => write!(line, "\x1b[3m{field}\x1b[0m\x1b[2m=\x1b[0m")?,
        false => write!(line, "{field}=")?,
    }
    // Text that is no more than text comes in quotes already.
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let one_word = !value.is_empty() && !value.contains([' ', '\t', '\n', '"', '=']);
    if quoted || one_word { line.write_str(&harmless(&value)) } else { write!(line, "{value:?}") }
}

/// Without what a terminal would take for commands.
fn harmless(text: &str) -> Cow<'_, str> {
    let command = |c: char| c.is_control() && c != '\n';
    if !text.contains(command) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if command(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Whether a line can hold nothing private, whatever level is asked for: what libraries trace are
/// the bytes on the wire, and some write bodies or secrets even as warnings. `most`: the level that
/// others may write at.
fn is_discreet(line: &Metadata<'_>, most: LevelFilter) -> bool {
    match line.target().split("::").next() {
        Some(env!("CARGO_CRATE_NAME")) => true,
        Some("lapin" | "aws_config") => false,
        _ => *line.level() <= most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, colour: bool, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { format, level: level.to_owned(), identifiers: LogIdentifiers::Plain };
        let subscriber = subscriber(&log, colour, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let text = logged(LogFormat::Json, "info", false, || {
            tracing::info!(tenant = "acme", attempts = 2, "archived\nin two lines");
            tracing::debug!("below the level");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "archived\nin two lines");
        assert_eq!((line["tenant"].as_str(), line["attempts"].as_i64()), (Some("acme"), Some(2)));
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_line_has_the_trace_that_it_belongs_to_and_otherwise_none() {
        let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let logged = |format, place: Option<&str>| {
            let place = place.and_then(|place| traces::Context::parse(place, None));
            logged(format, "info", false, || {
                let saying = traces::Span::handed_on(place).during(async {
                    tracing::info!(tenant = "acme", "archived");
                });
                futures_util::FutureExt::now_or_never(saying).unwrap();
            })
        };
        let text = logged(LogFormat::Text, Some(place));
        assert!(
            text.ends_with("tenant=\"acme\" trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n"),
            "{text}"
        );
        let json = logged(LogFormat::Json, Some(place));
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(line["message"], "archived");
        for format in [LogFormat::Text, LogFormat::Json] {
            assert!(!logged(format, None).contains("trace_id"));
        }
    }

    #[test]
    fn what_libraries_trace_and_all_of_the_amqp_client_is_never_written() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = logged(format, "trace,lapin=trace", false, || {
                tracing::warn!(target: "lapin::channel", "a returned message");
                tracing::error!(target: "lapin", "a frame");
                tracing::trace!(target: "hyper", "bytes");
                tracing::debug!(target: "hyper", "a connection");
                tracing::trace!("our own");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.contains("a connection") && text.contains("our own"), "{text}");
        }
    }

    #[test]
    fn a_value_with_blanks_stands_in_quotes_and_no_value_commands_a_terminal() {
        let text = logged(LogFormat::Text, "info", false, || {
            tracing::info!(
                tenant = "acme",
                reason = %"ccfs.timeout",
                cause = %"reset by \x1b[31mpeer",
                said = %"x=1",
                nothing = %"",
                attempts = 2,
                "not \x1b[31marchived"
            );
        });
        let (_, line) = text.trim_end().split_once("INFO ").unwrap();
        assert_eq!(
            line,
            r#"not \u{1b}[31marchived tenant="acme" reason=ccfs.timeout cause="reset by \u{1b}[31mpeer" said="x=1" nothing="" attempts=2"#
        );
    }

    #[test]
    fn text_has_colours_only_where_asked() {
        let say = || tracing::warn!(tenant = "acme", "parked");
        let plain = logged(LogFormat::Text, "info", false, say);
        assert!(plain.contains("WARN") && plain.contains("tenant=\"acme\""), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        assert!(logged(LogFormat::Text, "info", true, say).contains('\u{1b}'));
    }

    #[test]
    fn the_level_is_a_filter_and_a_bad_one_is_said_with_its_key() {
        let say = || tracing::info!("hello");
        assert_eq!(logged(LogFormat::Text, "warn", false, say), "");
        let level = "callvault=loud".to_owned();
        let log = Log { format: LogFormat::Text, level, identifiers: LogIdentifiers::Plain };
        let error = subscriber(&log, false, io::sink).map_err(LoggingError::from).err().unwrap();
        assert!(error.to_string().starts_with("log.level: "), "{error}");
    }
}
