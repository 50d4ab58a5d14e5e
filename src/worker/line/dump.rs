//! A dump of many: one flat message a recording, then the event that says how many.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::intake::{hints, placed, refused};
use super::tools::Tools;
use crate::broker::Delivery;
use crate::clock;
use crate::event;
use crate::failure::{Failure, Reason};
use crate::recording;
use crate::request::{self, DumpRequest, Mistake, Mistakes, Request};
use crate::traces;
use crate::worker::tenant::Tenant;

/// Items that wait for their confirms at once: half of a batch of the publisher's, which two dumps fill.
const AT_ONCE: usize = 32;

/// Where even the key with this extension is too long, each is.
const SHORTEST: &str = "wav";

/// Reads a dump whose turn it is.
///
/// # Errors
/// One bad recording makes the whole dump invalid; one without a date is dead by itself.
pub fn read(delivery: &Delivery, tenant: &Tenant) -> Result<DumpRequest, Failure> {
    let now = clock::now();
    let dump = match request::parse(delivery.body(), hints(delivery), now) {
        Ok(Request::Dump(dump)) => dump,
        Ok(Request::Recording(_)) => unreachable!("a look at it has found several recordings"),
        Err(rejected) => return Err(refused(rejected.failure, delivery)),
    };
    let mut mistakes = Mistakes::default();
    for (index, wanted) in dump.recordings.iter().enumerate() {
        let keyed = recording::locate(wanted, &tenant.zone, delivery.sent_at(), now)
            .and_then(|place| tenant.keys.key(tenant.located(wanted, &place), SHORTEST));
        if let Err(failure) = keyed
            && failure.reason == Reason::MESSAGE_INVALID
        {
            mistakes.add(Mistake::new(placed(index, failure).detail));
        }
    }
    mistakes.unless_any(Some(dump))
}

/// Publishes the items of `dump` to the bulk queue, each confirmed, unless an earlier try has done
/// so, and then `dump.expanded`.
///
/// Doing it twice after a crash is harmless: the items are the same, and so are their keys.
pub async fn expand(
    dump: DumpRequest,
    sent_at: Option<Timestamp>,
    items_are_out: bool,
    tools: &Tools,
) -> Result<usize, Failure> {
    let (tenant, request_id) = (dump.tenant.clone(), dump.request_id.clone());
    let count = dump.recordings.len();
    let left = if items_are_out { 0 } else { usize::MAX };
    let items = dump.into_items().enumerate().take(left);
    let item_id = |index| {
        // The same for the same item of the same dump, so that copies can be recognised.
        let whole = Sha256::digest(format!("{tenant}/{request_id}/{index}"));
        hex::encode(&whole[..16])
    };
    let published = stream::iter(items)
        .map(|(index, body)| tools.publisher.bulk_item(body, item_id(index), sent_at));
    published.buffer_unordered(AT_ONCE).try_collect::<()>().await.map_err(Failure::from)?;
    let trace = traces::next();
    let event = event::expanded(&tenant, &request_id, count, clock::now(), trace.as_ref());
    tools.say(&event).await?;
    Ok(count)
}
