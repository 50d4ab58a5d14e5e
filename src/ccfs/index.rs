//! The recording index, had from CC-FS: it is made when it is asked for, and fetched once it is
//! there. Each of the two is one request; how long to wait between them is not known here.

use reqwest::Response;

use super::client::Client;
use super::download::Download;
use super::json;
use super::package::{IndexName, ResponseId};
use super::question::Question;
use super::span::Span;
use super::status::failed;
use crate::failure::{Failure, Reason};
use crate::recording::Format;

impl Client {
    /// Has CC-FS make the index of `span`; what it calls that says what the package is named.
    ///
    /// # Errors
    /// Every answer but a success is a [`Failure`], classed as that of a recording would be.
    pub async fn order_index(&self, span: &Span) -> Result<ResponseId, Failure> {
        let response = self.ask(&self.index(span), || {}).await?;
        self.ordered(response).await
    }

    /// Asks for a package that CC-FS was to make: one that is not there yet is
    /// [`crate::failure::Class::NotReady`].
    ///
    /// # Errors
    /// Every answer that is no ZIP is a [`Failure`], classed as that of a recording would be.
    pub async fn fetch_index(&self, name: &IndexName) -> Result<Download, Failure> {
        let response = self.ask(&Question::package(name), || {}).await?;
        let download = self.judge(response).await?;
        match download.format() {
            Format::Zip => Ok(download),
            _ => Err(failed(Reason::CCFS_PROTOCOL, "CC-FS answered a file that is no ZIP")),
        }
    }

    pub(super) fn index(&self, span: &Span) -> Question {
        Question::index(span, &self.0.index_callback)
    }

    /// What an answer to [`Self::index`] is.
    pub(super) async fn ordered(&self, response: Response) -> Result<ResponseId, Failure> {
        let answer = self.judge_success(response).await?;
        let id = json::response_id(&answer).and_then(|id| ResponseId::new(&id));
        id.ok_or_else(|| {
            let detail = "CC-FS answered success without a responseId that can be one";
            failed(Reason::CCFS_PROTOCOL, detail)
        })
    }
}
