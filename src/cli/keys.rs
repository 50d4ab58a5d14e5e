//! A tenant's recordings as the keys that its workers give them.

use jiff::tz::TimeZone;

use super::Error;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::index::BadRow;
use crate::recording::{KeyPattern, KeyTemplate, Located, Place, locate, name_of};
use crate::request::{CcId, TenantId, Wanted};

/// What of a tenant decides its keys.
pub struct Keys<'a> {
    pub tenant: &'a config::Tenant,
    template: KeyTemplate,
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
    /// There is none: no day, or more of a name than a store takes.
    pub fn pattern(&self, wanted: &Wanted) -> Result<KeyPattern, BadRow> {
        self.pattern_at(wanted, &self.place(wanted)?)
    }

    /// The keys that a recording of an index may have, at least one, the likeliest first: by call
    /// id, by file name, by both. Its day is that of all that is known, whichever it was asked by.
    ///
    /// # Errors
    /// As of [`Keys::pattern`].
    pub fn patterns(&self, whole: &Wanted) -> Result<Vec<KeyPattern>, BadRow> {
        let when = self.place(whole)?.when;
        let by_call_id = Wanted { file_name: None, ..whole.clone() };
        let by_file_name = Wanted { call_id: None, ..whole.clone() };
        let pattern = |wanted: &Wanted| {
            let place = Place { when, name: name_of(wanted)? };
            Some(self.pattern_at(wanted, &place))
        };
        let (mut patterns, mut refusal) = (Vec::new(), None);
        for found in [&by_call_id, &by_file_name, whole].into_iter().filter_map(pattern) {
            match found {
                Ok(pattern) if patterns.contains(&pattern) => {}
                Ok(pattern) => patterns.push(pattern),
                Err(why) => refusal = Some(why),
            }
        }
        match refusal {
            Some(why) if patterns.is_empty() => Err(why),
            _ => Ok(patterns),
        }
    }

    /// What the keys of its day begin with.
    ///
    /// # Errors
    /// Nothing tells the day.
    pub fn day_prefix(&self, wanted: &Wanted) -> Result<String, BadRow> {
        let when = self.place(wanted)?.when;
        Ok(self.template.day_prefix(&self.tenant.id, self.cc_id(wanted), when))
    }

    fn pattern_at(&self, wanted: &Wanted, place: &Place) -> Result<KeyPattern, BadRow> {
        let (tenant, cc_id) = (&self.tenant.id, self.cc_id(wanted));
        self.template.pattern(Located { tenant, cc_id, wanted, place }).map_err(refused)
    }

    fn place(&self, wanted: &Wanted) -> Result<Place, BadRow> {
        // A command has no message whose timestamp could be the last resort.
        locate(wanted, self.zone(), None).map_err(refused)
    }

    fn cc_id<'b>(&'b self, wanted: &'b Wanted) -> &'b CcId {
        wanted.cc_id.as_ref().unwrap_or(&self.tenant.cc_id)
    }
}

fn refused(failure: Failure) -> BadRow {
    BadRow(failure.detail)
}
