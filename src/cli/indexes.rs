//! The recording index, asked from CC-FS itself: ordered, waited for, fetched into a temporary file,
//! proven. Must not know what becomes of its rows.
//!
//! A tenant has one request under way. An order that CC-FS took is not repeated while it is waited
//! for. The name of what it makes is known but for its day, so that it is looked for under each name
//! that it may have.

mod days;
mod orders;
mod patience;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub use days::{Asked, Days, day, duration};
pub use orders::Orders;

use super::Error;
use crate::ccfs::{Client, IndexName, ResponseId, Span, Ways};
use crate::clock;
use crate::config::{self, show_duration};
use crate::failure::{Class, Failure, Reason};
use crate::index::{self, IndexError, Proven};
use crate::request::TenantId;
use orders::Order;
use patience::{Patience, look};

/// Parts of a download that wait to be written.
const AHEAD: usize = 8;

/// Hears what is going on, in a line for people at each step.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// An index that is proven, in a temporary file that has no name.
pub struct Package {
    file: File,
    proven: Proven,
    /// How many times CC-FS was asked for it.
    spans: usize,
    /// The moments that two of them share.
    borders: Vec<Timestamp>,
}

impl Package {
    /// Rows, good or bad; none of days without recordings.
    pub fn rows(&self) -> u64 {
        self.proven.rows
    }

    /// Those of them that cannot be used.
    pub fn bad(&self) -> u64 {
        self.proven.bad
    }

    /// How many packages of CC-FS it is made of.
    pub fn packages(&self) -> usize {
        self.spans
    }

    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The file, and the moments at which it may have a row twice: as the last one of a span and as
    /// the first one of the next.
    pub fn into_parts(self) -> (File, Vec<Timestamp>) {
        (self.file, self.borders)
    }
}

/// Why there is no index.
#[derive(Debug)]
pub struct NoIndex {
    tenant: TenantId,
    span: Span,
    /// What CC-FS had said that it would make.
    asked: Option<ResponseId>,
    /// What came last.
    pub failure: Failure,
    /// How long it was waited for; `None`: waiting would not have helped.
    waited: Option<Duration>,
    /// Whether another run goes on waiting.
    kept: bool,
}

impl std::error::Error for NoIndex {}

impl fmt::Display for NoIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, span, failure, .. } = self;
        write!(f, "tenant {tenant}: CC-FS gave no recording index of {span}: {failure}")?;
        if let Some(asked) = &self.asked {
            write!(f, "; it had taken the request as {asked}")?;
        }
        match (self.waited, self.kept, failure.class) {
            (Some(wait), true, _) => {
                let wait = show_duration(wait);
                write!(f, "; not within {wait} (--wait): run it again, and it goes on waiting")
            }
            (Some(wait), false, _) => {
                write!(f, "; not within {} (--wait): run it again later", show_duration(wait))
            }
            (None, _, Class::Refused) => {
                write!(f, "; `callvault check` shows what the account may ask for")
            }
            (None, ..) => write!(f, "; it would come to the same again"),
        }
    }
}

/// One tenant's CC-FS, as what makes its indexes.
pub struct Indexes {
    tenant: TenantId,
    client: Client,
    zone: TimeZone,
    wait: Duration,
}

impl Indexes {
    /// `wait`: how long each index may take.
    ///
    /// # Errors
    /// The tenant's settings cannot be used.
    pub fn of(tenant: &config::Tenant, ways: &Ways, wait: Duration) -> Result<Self, Error> {
        let client = Client::by(ways, &tenant.ccfs, &tenant.access_key, &tenant.secret_key);
        let client =
            client.map_err(|error| Error::Setup(format!("tenant {}: {error}", tenant.id)))?;
        let (tenant, zone) = (tenant.id.clone(), tenant.time_zone.clone());
        Ok(Self { tenant, client, zone, wait })
    }

    /// The index of a day.
    ///
    /// # Errors
    /// [`Error::NoIndex`], [`Error::Spool`].
    pub async fn day(&self, day: Date, tell: Tell<'_>) -> Result<Package, Error> {
        let days = Days { first: day, last: day };
        self.days(days, &mut Orders::unkept(&self.tenant), tell).await
    }

    /// The index of several days: that of one request as CC-FS made it, of several as one package.
    ///
    /// # Errors
    /// [`Error::NoIndex`], [`Error::Spool`], [`Error::Unwritten`] where orders are kept.
    pub async fn days(
        &self,
        days: Days,
        orders: &mut Orders,
        tell: Tell<'_>,
    ) -> Result<Package, Error> {
        let mut packages = Vec::new();
        let mut proven = Proven::default();
        let mut borders = Vec::new();
        for span in Span::split(days.first, days.last) {
            let (package, of_span) = self.span(span, orders, tell).await?;
            proven.rows += of_span.rows;
            proven.bad += of_span.bad;
            // A civil time that the zone skips is a moment, too; only the calendar's end is none.
            let end = self.zone.to_ambiguous_timestamp(span.end()).compatible();
            borders.extend(end.ok());
            packages.push((span.to_string().replace(' ', "_"), package));
        }
        // After the last one nothing else is asked for.
        borders.pop();
        let spans = packages.len();
        let file = match <[_; 1]>::try_from(packages) {
            Ok([(_, package)]) => package,
            Err(packages) => {
                let joined = spawn_blocking(|| index::join(packages)).await;
                finished(joined).map_err(unjoined)?
            }
        };
        Ok(Package { file, proven, spans, borders })
    }

    /// What one request brings.
    async fn span(
        &self,
        span: Span,
        orders: &mut Orders,
        tell: Tell<'_>,
    ) -> Result<(File, Proven), Error> {
        let mut patience = Patience::new(self.wait, Instant::now());
        let order = match orders.of(&span) {
            Some(order) => {
                tell(&format!("{span}: was asked for at {:.0}", order.asked_at));
                order.clone()
            }
            None => {
                let order = self.order(span, &mut patience, tell).await?;
                orders.remember(order.clone())?;
                order
            }
        };
        let names = order.response_id.names(order.asked_at, &self.zone);
        loop {
            let failure = match self.look(&names).await {
                Ok(package) => return Ok(package),
                Err(Missed::Disk(error)) => return Err(Error::Spool(error)),
                Err(Missed::Failed(failure)) => failure,
            };
            let Some(pause) = patience.pause(failure.class, Instant::now()) else {
                if failure.class == Class::Permanent {
                    orders.forget(&span)?;
                }
                return Err(self.none(span, Some(order.response_id), failure, orders.are_kept()));
            };
            let (pauses, left) =
                (whole_seconds(pause), whole_seconds(patience.left(Instant::now())));
            tell(&format!(
                "{span}: waits for CC-FS to make the index ({}); looks again in {pauses}, gives up \
                 in {left}",
                failure.reason
            ));
            sleep(pause).await;
        }
    }

    /// Has CC-FS make an index.
    async fn order(
        &self,
        span: Span,
        patience: &mut Patience,
        tell: Tell<'_>,
    ) -> Result<Order, Error> {
        loop {
            tell(&format!("{span}: asks CC-FS to make the index"));
            // Its name has the day on which it was asked for.
            let asked_at = clock::now();
            let failure = match self.client.order_index(&span).await {
                Ok(response_id) => return Ok(Order { span, response_id, asked_at }),
                Err(failure) => failure,
            };
            let Some(pause) = patience.pause(failure.class, Instant::now()) else {
                return Err(self.none(span, None, failure, false));
            };
            tell(&format!("{span}: CC-FS does not take the request ({})", failure.reason));
            sleep(pause).await;
        }
    }

    /// Looks for a package under each name that it may have, the likeliest first.
    async fn look(&self, names: &[IndexName]) -> Result<(File, Proven), Missed> {
        let mut known = None;
        for name in names {
            match self.fetch(name).await {
                Err(Missed::Failed(failure)) => {
                    let (failure, over) = look(known, failure);
                    if over {
                        return Err(failure.into());
                    }
                    known = Some(failure);
                }
                had_or_disk => return had_or_disk,
            }
        }
        Err(known.expect("a package has a name at least, and none was had").into())
    }

    /// Fetches a package, and proves it.
    async fn fetch(&self, name: &IndexName) -> Result<(File, Proven), Missed> {
        let mut download = self.client.fetch_index(name).await?;
        let (send, parts) = mpsc::channel(AHEAD);
        let writing = spawn_blocking(move || written(parts));
        let downloaded = async {
            while let Some(bytes) = download.chunk().await? {
                if send.send(bytes).await.is_err() {
                    // Who writes has given up, and says why.
                    break;
                }
            }
            Ok::<_, Failure>(())
        };
        let downloaded = downloaded.await;
        drop(send);
        let file = finished(writing.await).map_err(Missed::Disk)?;
        downloaded?;
        let zone = self.zone.clone();
        let proving =
            spawn_blocking(move || index::prove(&file, &zone).map(|proven| (file, proven)));
        finished(proving.await).map_err(|error| unproven(&error).into())
    }

    fn none(&self, span: Span, asked: Option<ResponseId>, failure: Failure, kept: bool) -> Error {
        let waited = (!patience::ends(failure.class)).then_some(self.wait);
        let tenant = self.tenant.clone();
        Error::NoIndex(Box::new(NoIndex { tenant, span, asked, failure, waited, kept }))
    }
}

/// Why a look brought nothing.
enum Missed {
    Failed(Failure),
    /// There is no room for a temporary file.
    Disk(io::Error),
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Writes what comes to a temporary file. Blocks, and so hears of a full disk (`tokio::fs` does not).
fn written(mut parts: mpsc::Receiver<Bytes>) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    while let Some(bytes) = parts.blocking_recv() {
        file.write_all(&bytes)?;
    }
    Ok(file)
}

/// What came as a package and is none: perhaps it was being written, and the next one is whole.
fn unproven(error: &IndexError) -> Failure {
    let class = match error {
        // It would come so again.
        IndexError::Utf16(_) => Class::Permanent,
        _ => Class::Failure,
    };
    let detail = format!("the package that CC-FS sent is not whole or no index: {error}");
    Failure::new(class, Reason::CCFS_PROTOCOL, detail)
}

fn unjoined(error: IndexError) -> Error {
    match error {
        IndexError::Spool(error) => Error::Spool(error),
        error => Error::Index("the packages of CC-FS".to_owned(), error),
    }
}

/// Without fractions, for people.
fn whole_seconds(duration: Duration) -> String {
    show_duration(Duration::from_secs(duration.as_secs()))
}

fn finished<T>(work: Result<T, tokio::task::JoinError>) -> T {
    work.unwrap_or_else(|broken| panic::resume_unwind(broken.into_panic()))
}
