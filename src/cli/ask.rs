//! Recordings → dump requests: at most a thousand in each, a few with the broker at once.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::spool::Waiting;
use crate::broker::{RequestError, Requests};
use crate::clock;
use crate::config::Config;
use crate::index::By;
use crate::request::{DumpRequest, RequestId, TenantId, Wanted};

/// Recordings in a request. The longest names make 1.4 MB of them, of 4 MiB that are read.
const RECORDINGS: usize = 1000;
/// Requests that wait for their confirms.
const AT_ONCE: usize = 4;
/// What is put behind the id of a request that is one of several.
pub const LONGEST_PART: usize = ".1000000000".len();

/// What all requests of a command have in common.
#[derive(Clone)]
pub struct Order {
    pub tenant: TenantId,
    pub request_id: RequestId,
    pub force: bool,
}

/// An id for requests that nobody has named. Of two commands in one second, too, each has its own:
/// the ids of events are made of it.
pub fn any_request_id(command: &str) -> RequestId {
    let now = clock::now().strftime("%Y%m%dT%H%M%SZ");
    let id = RequestId::new(format!("{command}-{now}-{:08x}", fastrand::u32(..)));
    id.expect("a command, a date, a time and eight digits are few printable characters")
}

/// What was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    pub recordings: u64,
    requests: u64,
    pub request_id: RequestId,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recordings, requests, request_id } = self;
        let plural = |n: &u64| if *n == 1 { "" } else { "s" };
        let (some, many) = (plural(recordings), plural(requests));
        write!(
            f,
            "asked for {recordings} recording{some} in {requests} request{many}, {request_id}"
        )
    }
}

/// Collects recordings and asks for them; holds two requests' worth of memory more than are asked.
pub struct Asker {
    requests: Arc<Requests>,
    order: Order,
    batch: Vec<Wanted>,
    /// Requests so far.
    parts: u64,
    asked: u64,
    under_way: JoinSet<Result<(), RequestError>>,
    /// The last row's recording; the other rows of its call come next.
    last: Option<Wanted>,
}

impl Asker {
    /// # Errors
    /// The broker cannot be worked with.
    pub async fn connect(config: &Config, order: Order) -> Result<Self, RequestError> {
        let requests = Requests::connect(&config.broker, &config.retry.delays).await?;
        Ok(Self::on(Arc::new(requests), order))
    }

    /// On a connection that others use, too.
    pub fn on(requests: Arc<Requests>, order: Order) -> Self {
        let (batch, under_way) = (Vec::new(), JoinSet::new());
        Self { requests, order, batch, parts: 0, asked: 0, under_way, last: None }
    }

    /// Asks for a recording, together with others.
    ///
    /// # Errors
    /// A request is not with the broker.
    pub async fn ask(&mut self, wanted: Wanted) -> Result<(), RequestError> {
        self.batch.push(wanted);
        if self.batch.len() < RECORDINGS { Ok(()) } else { self.send().await }
    }

    /// Asks for the recording of a row, by one of its names. All rows of a call are one request: they
    /// come one after the other.
    ///
    /// # Errors
    /// A request is not with the broker.
    pub async fn ask_for(&mut self, row: &Waiting, by: By) -> Result<(), RequestError> {
        let wanted = row.named(by);
        if self.last.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.last = Some(wanted.clone());
        self.ask(wanted).await
    }

    /// Waits for the confirms of all.
    ///
    /// # Errors
    /// A request is not with the broker.
    pub async fn finish(mut self) -> Result<Asked, RequestError> {
        self.send().await?;
        while let Some(confirmed) = self.under_way.join_next().await {
            heard(confirmed)?;
        }
        if let Some(requests) = Arc::into_inner(self.requests) {
            requests.close().await;
        }
        let (recordings, requests) = (self.asked, self.parts);
        Ok(Asked { recordings, requests, request_id: self.order.request_id })
    }

    async fn send(&mut self) -> Result<(), RequestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.under_way.len() == AT_ONCE
            && let Some(confirmed) = self.under_way.join_next().await
        {
            heard(confirmed)?;
        }
        self.parts += 1;
        self.asked += self.batch.len() as u64;
        let recordings = std::mem::take(&mut self.batch);
        let Order { tenant, force, .. } = self.order.clone();
        let request_id = self.part();
        let dump = DumpRequest { tenant, request_id, force, recordings };
        let requests = Arc::clone(&self.requests);
        self.under_way.spawn(async move {
            let body = dump.body();
            requests.dump(&dump.tenant, &body, &message_id(&body)).await
        });
        Ok(())
    }

    /// The id of a request: its items and its `dump.expanded` are told from those of others by it.
    fn part(&self) -> RequestId {
        let id = &self.order.request_id;
        match self.parts {
            1 => id.clone(),
            part => {
                RequestId::new(format!("{id}.{part}")).expect("the id leaves room for its part")
            }
        }
    }
}

fn heard(
    confirmed: Result<Result<(), RequestError>, tokio::task::JoinError>,
) -> Result<(), RequestError> {
    match confirmed {
        Ok(confirmed) => confirmed,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

/// The same for the same request, so that copies can be recognised.
fn message_id(body: &[u8]) -> String {
    hex::encode(&Sha256::digest(body)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_commands_in_one_second_have_ids_of_their_own() {
        assert_ne!(any_request_id("dump"), any_request_id("dump"));
    }
}
