//! A dump of many: one flat message a recording, then the event that says how many.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::tools::Tools;
use crate::clock;
use crate::event;
use crate::failure::Failure;
use crate::request::DumpRequest;

/// Items that wait for their confirms at once: half of the publisher's channels, so that the events
/// of live calls need not queue behind a dump.
const AT_ONCE: usize = 8;

/// Publishes the items of `dump` to the bulk queue, each confirmed, unless an earlier try has done
/// so, and then `dump.expanded`.
///
/// Doing it twice after a crash is harmless: the items are the same, and so are their keys.
pub async fn expand(
    dump: &DumpRequest,
    sent_at: Option<Timestamp>,
    items_are_out: bool,
    tools: &Tools,
) -> Result<usize, Failure> {
    let left = if items_are_out { 0 } else { usize::MAX };
    let items = dump.items().enumerate().take(left);
    let published = stream::iter(items)
        .map(|(index, body)| tools.publisher.bulk_item(body, item_id(dump, index), sent_at));
    published.buffer_unordered(AT_ONCE).try_collect::<()>().await.map_err(Failure::from)?;
    let count = dump.recordings.len();
    let event = event::expanded(&dump.tenant, &dump.request_id, count, clock::now());
    tools.say(&event).await?;
    Ok(count)
}

/// The same for the same item of the same dump, so that copies can be recognised.
fn item_id(dump: &DumpRequest, index: usize) -> String {
    let whole = Sha256::digest(format!("{}/{}/{index}", dump.tenant, dump.request_id));
    hex::encode(&whole[..16])
}
