//! A tenant's recordings as the keys that its workers give them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Error;
use crate::clock;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::index::BadRow;
use crate::recording::{KeyPattern, KeyTemplate, Located, Place, When, locate, name_of};
use crate::request::{CcId, TenantId, Wanted};

/// What of a tenant decides its keys.
pub struct Keys<'a> {
    pub tenant: &'a config::Tenant,
    template: KeyTemplate,
}

/// A key that a recording of an index may have.
pub struct Candidate {
    pub pattern: KeyPattern,
    /// Whether it names the call alone, so that all recordings of the call share it.
    pub of_call: bool,
}

impl<'a> Keys<'a> {
    /// # Errors
    /// There is no such tenant.
    pub fn of(config: &'a Config, id: &TenantId) -> Result<Self, Error> {
        let Some(tenant) = config.tenants.iter().find(|tenant| tenant.id == *id) else {
            let known: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            let known = known.join(", ");
            return Err(Error::Setup(format!(
                "--tenant {id}: is not in the configuration; it has {known}"
            )));
        };
        let template = KeyTemplate::parse(&tenant.store.key)
            .map_err(|what| Error::Setup(format!("tenant {id}: store.key: {what}")))?;
        Ok(Self { tenant, template })
    }

    pub fn zone(&self) -> &TimeZone {
        &self.tenant.time_zone
    }

    /// Its key, whatever the extension.
    ///
    /// # Errors
    /// There is none: no day, or one that has yet to come, or more of a name than a store takes.
    pub fn pattern(&self, wanted: &Wanted) -> Result<KeyPattern, BadRow> {
        self.pattern_at(wanted, &self.place(wanted)?)
    }

    /// The keys that a recording of an index may have, at least one, the likeliest first: by call
    /// id, by file name, by both, on each of its days, whichever it was asked by.
    ///
    /// # Errors
    /// As of [`Keys::pattern`].
    pub fn candidates(
        &self,
        whole: &Wanted,
        call: Option<&Wanted>,
    ) -> Result<Vec<Candidate>, BadRow> {
        let by_call_id = Wanted { file_name: None, ..whole.clone() };
        let by_file_name = Wanted { call_id: None, ..whole.clone() };
        let ways = [(&by_call_id, true), (&by_file_name, false), (whole, false)];
        let (mut candidates, mut refusal) = (Vec::<Candidate>::new(), None);
        for when in self.days(whole, call)? {
            for (wanted, of_call) in ways {
                let Some(name) = name_of(wanted) else { continue };
                match self.pattern_at(wanted, &Place { when, name }) {
                    // Two times of a day have the same key but for templates with {hh}.
                    Ok(pattern) if candidates.iter().any(|known| known.pattern == pattern) => {}
                    Ok(pattern) => candidates.push(Candidate { pattern, of_call }),
                    Err(why) => refusal = Some(why),
                }
            }
        }
        match refusal {
            Some(why) if candidates.is_empty() => Err(why),
            _ => Ok(candidates),
        }
    }

    /// What the keys of its days begin with, at least one, the likeliest first.
    ///
    /// # Errors
    /// Nothing tells the day, or it has yet to come.
    pub fn day_prefixes(
        &self,
        whole: &Wanted,
        call: Option<&Wanted>,
    ) -> Result<Vec<String>, BadRow> {
        let mut prefixes = Vec::new();
        for when in self.days(whole, call)? {
            let prefix = self.template.day_prefix(&self.tenant.id, self.cc_id(whole), when);
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        Ok(prefixes)
    }

    /// When its call ended, or the end of the day where no more than that is known.
    ///
    /// # Errors
    /// As of [`Keys::day_prefixes`].
    pub fn ended(&self, whole: &Wanted, call: Option<&Wanted>) -> Result<Timestamp, BadRow> {
        let days = self.days(whole, call)?;
        Ok(days.first().expect("there is one at least").known_at)
    }

    /// When it may have been: at the end of its call, which is the day that a message of the call
    /// gives, or at the end or the begin of what its row says. A call may cross midnight.
    fn days(&self, whole: &Wanted, call: Option<&Wanted>) -> Result<Vec<When>, BadRow> {
        let when = |wanted: &Wanted| self.place(wanted).map(|place| place.when);
        let end = when(whole)?;
        let begin = whole.call_begin.map(|_| Wanted { call_end: None, ..whole.clone() });
        let timed = |call: &&Wanted| call.call_end.or(call.call_begin).is_some();
        let of_call = call.filter(timed).and_then(|call| when(call).ok());
        let begin = begin.and_then(|begin| when(&begin).ok());
        let mut days: Vec<When> = Vec::new();
        for when in of_call.into_iter().chain([end]).chain(begin) {
            if !days.iter().any(|day| (day.date, day.hour) == (when.date, when.hour)) {
                days.push(when);
            }
        }
        Ok(days)
    }

    fn pattern_at(&self, wanted: &Wanted, place: &Place) -> Result<KeyPattern, BadRow> {
        let (tenant, cc_id) = (&self.tenant.id, self.cc_id(wanted));
        self.template.pattern(Located { tenant, cc_id, wanted, place }).map_err(refused)
    }

    fn place(&self, wanted: &Wanted) -> Result<Place, BadRow> {
        // A command has no message whose timestamp could be the last resort.
        locate(wanted, self.zone(), None, clock::now()).map_err(refused)
    }

    fn cc_id<'b>(&'b self, wanted: &'b Wanted) -> &'b CcId {
        wanted.cc_id.as_ref().unwrap_or(&self.tenant.cc_id)
    }
}

fn refused(failure: Failure) -> BadRow {
    BadRow(failure.detail)
}
