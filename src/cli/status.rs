//! `callvault status`: what the page of a worker shows, in a terminal, of one worker or of several.

mod answer;
mod screen;

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};
use tokio::task;
use tokio::time::{self, MissedTickBehavior};
use url::Url;

use self::answer::Answer;
use super::terminal::wants_colours;
use super::{Error, peer};
use crate::config::Mistakes;

/// How often they are asked with `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// Whom to ask, and how it is shown.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A worker's address, such as http://10.0.0.7:9464; repeat it for several.
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    url: Vec<String>,
    /// Ask again each second, until interrupted.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print a JSON array: [{"url", "status": {…} or "error": "…"}].
    #[arg(long)]
    json: bool,
}

/// A worker that is asked.
struct Worker {
    /// As it was named.
    url: String,
    /// Where it listens: host and port.
    authority: String,
    path: String,
}

/// Why there is nothing to show of a worker.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("no answer: {0}; start it, or name its own http.listen")]
    NoAnswer(#[from] io::Error),
    #[error(
        "what listens there is no callvault of this kind: its answer is not that of /api/status"
    )]
    Stranger,
}

/// Shows the workers of `options`, or the one that listens on `own`.
///
/// # Errors
/// A URL or the configuration is wrong, or the output cannot be written.
pub async fn run(
    options: Options,
    own: impl FnOnce() -> Result<SocketAddr, Mistakes>,
) -> Result<ExitCode, Error> {
    let workers = if options.url.is_empty() {
        vec![Worker::listening_on(peer::reachable(own()?))]
    } else {
        let workers = options.url.iter().map(|url| Worker::named(url));
        workers.collect::<Result<_, _>>().map_err(Error::Setup)?
    };
    let colours = wants_colours();
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = task::block_in_place(|| ask_all(&workers));
        if options.json {
            let all: Vec<Value> = workers.iter().zip(asked.iter()).map(as_json).collect();
            show(&format!("{:#}\n", Value::from(all)))?;
        } else {
            let told: Vec<_> =
                workers.iter().map(|worker| &*worker.url).zip(asked.iter()).collect();
            let text = screen::all(&told, colours);
            show(&if options.watch && colours { screen::anew(&text) } else { text })?;
        }
        if !options.watch {
            let all_answer = asked.iter().all(Result::is_ok);
            return Ok(if all_answer { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

/// Nobody is asked any more when the reader has gone.
fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Each worker's answer, all asked at the same time.
fn ask_all(workers: &[Worker]) -> Vec<Result<Answer, Unknown>> {
    thread::scope(|scope| {
        let asking: Vec<_> = workers.iter().map(|worker| scope.spawn(|| worker.ask())).collect();
        let answer =
            |asked: thread::ScopedJoinHandle<'_, _>| asked.join().unwrap_or(Err(Unknown::Stranger));
        asking.into_iter().map(answer).collect()
    })
}

fn as_json((worker, asked): (&Worker, &Result<Answer, Unknown>)) -> Value {
    match asked {
        Ok(answer) => json!({ "url": worker.url, "status": answer.whole }),
        Err(unknown) => json!({ "url": worker.url, "error": unknown.to_string() }),
    }
}

impl Worker {
    fn listening_on(address: SocketAddr) -> Self {
        let authority = address.to_string();
        Self { url: format!("http://{authority}"), authority, path: "/api/status".to_owned() }
    }

    /// `http://host:9464`, with or without what a proxy puts before the path.
    fn named(url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("--url {url}: {what}; write http://host:9464");
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(wrong("a worker is asked over plain HTTP"));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("it names no host"))?;
        let authority = format!("{host}:{}", parsed.port_or_known_default().unwrap_or(80));
        let path = format!("{}/api/status", parsed.path().trim_end_matches('/'));
        Ok(Self { url: url.to_owned(), authority, path })
    }

    fn ask(&self) -> Result<Answer, Unknown> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match peer::get(address, &self.authority, &self.path) {
                Ok(answer) => return Answer::read(&answer).ok_or(Unknown::Stranger),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_what_stands_before_the_path() {
        let at = |url: &str| Worker::named(url).map(|worker| (worker.authority, worker.path));
        let plain = ("w1:9464".to_owned(), "/api/status".to_owned());
        assert_eq!(at("http://w1:9464"), Ok(plain.clone()));
        assert_eq!(at("http://w1:9464/"), Ok(plain));
        let behind = ("[::1]:80".to_owned(), "/callvault/api/status".to_owned());
        assert_eq!(at("http://[::1]/callvault/"), Ok(behind));
    }

    #[test]
    fn what_is_no_url_of_a_worker_is_said() {
        for wrong in ["w1:9464", "https://w1", "nonsense"] {
            let said = Worker::named(wrong).err().expect("it is wrong");
            assert!(said.contains(wrong) && said.ends_with("write http://host:9464"), "{said}");
        }
    }
}
