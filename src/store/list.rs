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
pub struct NextPage(String);

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
        let request = self.0.client.list_objects_v2().bucket(self.bucket()).prefix(prefix);
        let request = request.set_continuation_token(page.map(|NextPage(token)| token));
        let list = self.ask(StoreOperation::List, request.send()).await?;
        let truncated = list.is_truncated == Some(true);
        let next = list.next_continuation_token.filter(|_| truncated).map(NextPage);
        let listed = list.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = u64::try_from(object.size.unwrap_or(0)).unwrap_or(0);
            Some(Listed { key: object.key?, size })
        });
        Ok((listed.collect(), next))
    }
}
