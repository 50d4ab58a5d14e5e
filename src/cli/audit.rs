//! `callvault audit`: what CC-FS knows of each day, against the bucket; for every tenant, every night.
//!
//! Tenants wait for their CC-FS beside one another (`asking`); what comes is compared an index at a
//! time, so that memory grows neither with tenants nor with rows. What goes wrong with one tenant's
//! day is a line of the report, and ends nobody else's audit.

mod asking;
mod end;
mod explain;
mod mail;
mod options;
mod report;
mod textfile;
mod verdict;

use std::process::ExitCode;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Error;
use super::ask::{Asker, Order, any_request_id};
use super::compare::{Comparison, State};
use super::indexes::{Indexes, Package};
use super::keys::Keys;
use super::progress::Waits;
use super::rows::Rows;
use super::spool::Waiting;
use crate::ccfs::Ways;
use crate::clock;
use crate::config::Config;
use crate::event::{self, Audited, Found};
use crate::metrics::Metrics;
use crate::request::TenantId;
use crate::store::{Store, Stores};
use asking::{Asking, News};
use end::{Done, End, Undone};
use explain::Explaining;
use mail::Mail;
use report::Report;
use verdict::Verdict;

pub use options::Audit;

/// Holds every day against the bucket, reports, and asks for what is missing if told to.
///
/// # Errors
/// A tenant is none, its settings cannot be used, or the report cannot be written; and at the end, if
/// the broker could not be worked with.
pub async fn run(config: &Config, told: Audit) -> Result<ExitCode, Error> {
    let began = clock::now();
    let targets = targets(config, &told, began)?;
    if let Some(path) = &told.textfile {
        textfile::try_out(path)?;
    }
    let ways = Ways::new(asking::AT_ONCE);
    let indexes = targets.iter().map(|target| Indexes::of(target.keys.tenant, &ways, told.wait));
    let indexes = indexes.collect::<Result<Vec<_>, _>>()?;
    // First of all: CC-FS is not to be asked for hours before it turns out that nobody hears of it.
    let mail = Mail::connect(config).await;
    let plan = targets.iter().map(|target| target.days.clone());
    let asking = Asking::start(indexes.into_iter().zip(plan));
    let explaining = told.explain.then(|| Explaining::new(config, told.json));
    let window = SignedDuration::try_from(config.retry.not_ready_window);
    let window = window.unwrap_or(SignedDuration::MAX);
    let young = began.checked_sub(window).unwrap_or(Timestamp::MIN);
    let mut auditor = Auditor {
        told: &told,
        targets: &targets,
        began,
        young,
        mail,
        explaining,
        ends: Vec::new(),
    };
    auditor.all(asking).await;

    let Auditor { mail, explaining, mut ends, .. } = auditor;
    ends.sort_by_key(|end| (end.whose, end.day));
    let (explained, unexplained) = match explaining {
        Some(explaining) => explaining.end().await?,
        None => (None, None),
    };
    // Before the report, whose reader may have seen enough.
    let written = told.textfile.as_deref().map(|path| textfile::write(path, &targets, &ends));
    let report = Report { targets: &targets, ends: &ends, asks: told.enqueue };
    let well = mail.is_well() && unexplained.is_none();
    report.write(told.json, explained, well)?;
    written.transpose()?;
    mail.close().await?;
    unexplained.map_or(Ok(()), Err)?;
    Ok(ExitCode::from(report.code()))
}

/// A tenant whose days are looked at.
struct Target<'a> {
    keys: Keys<'a>,
    store: Store,
    /// On its clocks, the first first; none where the one that was asked for has yet to come.
    days: Vec<Date>,
}

impl Target<'_> {
    fn id(&self) -> &TenantId {
        &self.keys.tenant.id
    }
}

/// The tenants that are meant, in the order of the configuration.
fn targets<'a>(
    config: &'a Config,
    told: &Audit,
    began: Timestamp,
) -> Result<Vec<Target<'a>>, Error> {
    let meant = |id: &TenantId| told.tenants.is_empty() || told.tenants.contains(id);
    for id in &told.tenants {
        // One that there is not.
        Keys::of(config, id)?;
    }
    let stores = Stores::new(Metrics::new());
    let mut targets = Vec::new();
    for tenant in config.tenants.iter().filter(|tenant| meant(&tenant.id)) {
        let keys = Keys::of(config, &tenant.id)?;
        let store = stores.store(&tenant.store);
        let store =
            store.map_err(|error| Error::Setup(format!("tenant {}: {error}", tenant.id)))?;
        let days = told.days(&today(&tenant.time_zone, began));
        targets.push(Target { keys, store, days });
    }
    match told.day {
        Some(day) if targets.iter().all(|target| target.days.is_empty()) && !targets.is_empty() => {
            Err(Error::Setup(format!("--day {day}: has yet to come for every tenant")))
        }
        _ => Ok(targets),
    }
}

fn today(zone: &TimeZone, now: Timestamp) -> Date {
    zone.to_datetime(now).date()
}

/// What an audit is at.
struct Auditor<'a> {
    told: &'a Audit,
    targets: &'a [Target<'a>],
    began: Timestamp,
    /// A call that ended later may have a recording that is still on its way.
    young: Timestamp,
    mail: Mail,
    /// Only with `--explain`.
    explaining: Option<Explaining<'a>>,
    ends: Vec<End>,
}

impl Auditor<'_> {
    /// Every day of every tenant, as their indexes come.
    async fn all(&mut self, mut asking: Asking) {
        for (whose, target) in self.targets.iter().enumerate() {
            if let (Some(day), true) = (self.told.day, target.days.is_empty()) {
                let why = "the day has yet to come on the tenant's clocks".to_owned();
                let undone = Undone { code: None, why, no_index: true };
                self.ends.push(End { whose, day, came: Err(undone) });
            }
        }
        let days: usize = self.targets.iter().map(|target| target.days.len()).sum();
        let (mut waits, mut done) = (None, 0);
        while let Some(news) = asking.next().await {
            match news {
                News::Doing(whose, what) => {
                    let id = self.targets[whose].id();
                    let waits = waits.get_or_insert_with(Waits::new);
                    waits.say(&format!("{done} of {days} days; {id} {what}"));
                }
                News::Day { whose, day, came } => {
                    // A comparison shows how far it is itself.
                    waits = None;
                    let came = match came {
                        Ok(package) => self.audit(whose, day, package).await,
                        Err(error) => Err(error),
                    };
                    let came = came.map_err(|error| Undone::of(error, self.told.wait));
                    self.ends.push(End { whose, day, came });
                    done += 1;
                }
            }
        }
    }

    /// Holds a day against the bucket, and tells what it has found.
    async fn audit(&mut self, whose: usize, day: Date, package: Package) -> Result<Done, Error> {
        let targets = self.targets;
        let target = &targets[whose];
        let name = format!("{} {day}", target.id());
        let rows = Rows::of(package, name.clone(), target.keys.zone())?;
        let mut comparison =
            Comparison::begin(&target.keys, &target.store, rows, &format!("{name}: ")).await?;
        let read = comparison.counts();
        let mut found = Found { rows: read.rows, bad: read.bad, ..Found::default() };
        let mut asker = self.asker(target);
        loop {
            let rows = comparison.next().await?;
            if rows.is_empty() {
                break;
            }
            for (row, state) in &rows {
                let verdict = self.verdict(target, row, *state);
                verdict.count(&mut found);
                if verdict.is_asked_for()
                    && let Some(ask) = &mut asker
                    && let Err(error) = ask.ask_for(row, self.told.by).await
                {
                    self.mail.lost(error);
                    asker = None;
                }
                if verdict != Verdict::Present
                    && let Some(explaining) = &mut self.explaining
                {
                    let of = (target.id(), day, verdict.as_str());
                    explaining.add(of, row, comparison.key(row)).await?;
                }
            }
        }
        drop(comparison);
        let request_id = match asker {
            Some(asker) => self.mail.heard(asker.finish().await),
            None => None,
        };
        let request_id = request_id.filter(|asked| asked.recordings > 0).map(|asked| {
            found.enqueued = asked.recordings;
            asked.request_id
        });
        let (tenant, began, now) = (target.id(), self.began, clock::now());
        self.mail.tell(&event::audited(&Audited { tenant, day, found, began, now })).await;
        Ok(Done { found, request_id })
    }

    /// Only with `--enqueue`, and a broker.
    fn asker(&self, target: &Target<'_>) -> Option<Asker> {
        let requests = self.mail.open().filter(|_| self.told.enqueue)?;
        let (tenant, request_id) = (target.id().clone(), any_request_id("audit"));
        Some(Asker::on(requests, Order { tenant, request_id, force: false }))
    }

    fn verdict(&self, target: &Target<'_>, row: &Waiting, state: State) -> Verdict {
        Verdict::of(state, || {
            let ended = target.keys.ended(&row.wanted(), row.call().as_ref());
            ended.is_ok_and(|ended| ended > self.young)
        })
    }
}
