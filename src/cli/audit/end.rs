//! What came of a tenant's day.

use std::time::Duration;

use jiff::civil::Date;

use crate::cli::Error;
use crate::config::show_duration;
use crate::event::Found;
use crate::failure::Class;
use crate::request::RequestId;

pub struct End {
    /// The tenant's place.
    pub whose: usize,
    pub day: Date,
    pub came: Result<Done, Undone>,
}

/// It was held against the bucket.
pub struct Done {
    pub found: Found,
    /// What was asked for goes by it.
    pub request_id: Option<RequestId>,
}

/// Why it was not.
pub struct Undone {
    /// A reason code, where there is one.
    pub code: Option<String>,
    pub why: String,
    /// Whether it is for want of an index.
    pub no_index: bool,
}

impl Undone {
    /// `wait`: how long the index was waited for.
    pub fn of(error: Error, wait: Duration) -> Self {
        match error {
            Error::NoIndex(none) => {
                let failure = none.failure;
                let mut why = failure.detail;
                if !matches!(failure.class, Class::Refused | Class::Permanent) {
                    why += &format!("; not within {} (--wait)", show_duration(wait));
                }
                Self { code: Some(failure.reason.to_string()), why, no_index: true }
            }
            Error::Store(failure) => {
                let code = Some(failure.reason.to_string());
                Self { code, why: failure.detail, no_index: false }
            }
            error => {
                let no_index = matches!(error, Error::Index(..));
                Self { code: None, why: error.to_string(), no_index }
            }
        }
    }

    /// All of it, for people.
    pub fn told(&self) -> String {
        match &self.code {
            Some(code) => format!("{code}: {}", self.why),
            None => self.why.clone(),
        }
    }
}
