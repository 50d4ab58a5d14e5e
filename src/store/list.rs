//! What is in the bucket, by the page.

use super::Store;
use super::error::Refusal;
use crate::failure::Failure;
use crate::metrics::StoreOperation;

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPage(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Where the store says.
    Token(String),
    After(String),
}

impl NextPage {
    /// Behind this key, in the order of keys, whether it is there or not.
    pub fn after(key: &str) -> Self {
        Self(Place::After(key.to_owned()))
    }
}

/// Where a listing that is not at its end goes on. One that says no place, or the one that it was
/// asked to go on from, would never end, or end as if it were whole.
pub(super) fn moved_on<T: PartialEq>(
    listing: StoreOperation,
    from: &Option<T>,
    to: Option<T>,
) -> Result<Option<T>, Refusal> {
    if to.is_none() || to == *from {
        return Err(Refusal::endless(listing));
    }
    Ok(to)
}

impl Store {
    /// The objects under keys that begin with `prefix`, from `page` on; and the next page, if
    /// there is one.
    ///
    /// # Errors
    /// The store did not list them.
    pub async fn list(
        &self,
        prefix: &str,
        page: Option<NextPage>,
    ) -> Result<(Vec<Listed>, Option<NextPage>), Failure> {
        self.list_page(prefix, page).await.map_err(|refusal| self.failure(refusal))
    }

    pub(super) async fn list_page(
        &self,
        prefix: &str,
        page: Option<NextPage>,
    ) -> Result<(Vec<Listed>, Option<NextPage>), Refusal> {
        let (from, after) = match page.map(|NextPage(place)| place) {
            Some(Place::Token(token)) => (Some(token), None),
            Some(Place::After(key)) => (None, Some(key)),
            None => (None, None),
        };
        let request = self.0.way.client.list_objects_v2().bucket(self.bucket()).prefix(prefix);
        let request = request.set_continuation_token(from.clone()).set_start_after(after);
        let list = self.ask(StoreOperation::List, request.send()).await?;
        let next = match list.is_truncated {
            Some(true) => moved_on(StoreOperation::List, &from, list.next_continuation_token)?,
            _ => None,
        };
        let next = next.map(|token| NextPage(Place::Token(token)));
        let listed = list.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = u64::try_from(object.size.unwrap_or(0)).unwrap_or(0);
            Some(Listed { key: object.key?, size })
        });
        Ok((listed.collect(), next))
    }
}
