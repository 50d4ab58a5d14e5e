//! What is there of a ZIP that was unpacked: all of its entries, or not all of them.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::error::Refusal;
use super::look::Found;
use super::{Identity, Store, StoredObject};
use crate::failure::Failure;
use crate::recording::{KeyFolder, MAX_ENTRIES, ObjectKey};

/// Objects looked at at a time.
const LOOKS: usize = 8;

impl Store {
    /// The objects in `folder`, in the order of their keys, if they are all that this recording has
    /// become.
    ///
    /// # Errors
    /// The store did not answer. As with [`Store::find`], a 403 is no answer either way: listing is
    /// a right of its own.
    pub async fn find_unpacked(
        &self,
        folder: &KeyFolder,
        who: &Identity,
    ) -> Result<Option<Vec<StoredObject>>, Failure> {
        match self.look_below(folder).await {
            Ok(found) => match all_of(found, who) {
                Some(all) => {
                    let heard = stream::iter(all).map(|object| self.heard(object));
                    Ok(Some(heard.buffered(LOOKS).collect().await))
                }
                None => Ok(None),
            },
            Err(refusal) if refusal.status() == Some(403) => Ok(None),
            Err(refusal) => Err(self.failure(refusal)),
        }
    }

    /// HEAD of all that is in a folder; of nothing where there is more than a recording can be.
    async fn look_below(&self, folder: &KeyFolder) -> Result<Vec<Found>, Refusal> {
        let mut keys = Vec::new();
        let mut page = None;
        loop {
            let (listed, next) = self.list_page(folder.as_str(), page).await?;
            // Whatever is longer than a key can be is none of ours.
            keys.extend(listed.into_iter().filter_map(|object| ObjectKey::new(object.key).ok()));
            if keys.len() as u64 > MAX_ENTRIES {
                return Ok(Vec::new());
            }
            page = next;
            if page.is_none() {
                break;
            }
        }
        let look = |key: ObjectKey| async move { self.look(&key).await };
        let found: Vec<Option<Found>> =
            stream::iter(keys).map(look).buffered(LOOKS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Those that name this recording, if they are as many as each of them says.
fn all_of(found: Vec<Found>, who: &Identity) -> Option<Vec<StoredObject>> {
    let ours: Vec<Found> = found.into_iter().filter(|found| found.names(who)).collect();
    let count = ours.len();
    let all = count > 0 && ours.iter().all(|found| found.entries() == Some(count));
    all.then(|| ours.into_iter().map(Found::into_object).collect())
}
