//! The indexes of all tenants as their CC-FS make them: tenants beside one another, the days of each
//! one after the other. Must not know what becomes of an index.

use std::panic;
use std::sync::Arc;

use jiff::civil::Date;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cli::Error;
use crate::cli::indexes::{Indexes, Package};

/// Tenants whose CC-FS is waited for at once.
pub const AT_ONCE: usize = 64;

/// What is heard of them.
pub enum News {
    /// What is going on with one, for people.
    Doing(usize, String),
    Day {
        /// The tenant's place.
        whose: usize,
        day: Date,
        came: Result<Package, Error>,
    },
}

pub struct Asking {
    news: mpsc::Receiver<News>,
    tenants: JoinSet<()>,
}

impl Asking {
    /// Begins to ask for the days of each tenant.
    pub fn start(plan: impl Iterator<Item = (Indexes, Vec<Date>)>) -> Self {
        // An index waits with its tenant until the one before it is done with.
        let (send, news) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut tenants = JoinSet::new();
        for (whose, (indexes, days)) in plan.enumerate() {
            let (send, places) = (send.clone(), Arc::clone(&places));
            tenants.spawn(async move {
                let _place = places.acquire().await.expect("nobody closes it");
                for day in days {
                    // Of use only while somebody listens for it.
                    let tell =
                        |what: &str| drop(send.try_send(News::Doing(whose, what.to_owned())));
                    let came = indexes.day(day, &tell).await;
                    if send.send(News::Day { whose, day, came }).await.is_err() {
                        return;
                    }
                }
            });
        }
        Self { news, tenants }
    }

    /// What comes next; `None` when all days have come.
    pub async fn next(&mut self) -> Option<News> {
        let news = self.news.recv().await;
        if news.is_none() {
            // No day is missing because its tenant was lost on the way.
            while let Some(ended) = self.tenants.join_next().await {
                ended.unwrap_or_else(|broken| panic::resume_unwind(broken.into_panic()));
            }
        }
        news
    }
}
