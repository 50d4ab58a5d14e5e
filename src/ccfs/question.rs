//! What CC-FS is asked, and on which path: each body is serialised once, so that what is signed is
//! what is sent. Pure.

use bytes::Bytes;
use serde::Serialize;
use url::Url;

use super::package::IndexName;
use super::span::Span;
use super::{DOWNLOAD_BILL_FILE, PATH, QUERY_BILL_DATA};
use crate::request::{CallId, CcId, FileName};

/// Which recording: by call, by file, or by both.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub call_id: Option<&'a CallId>,
    pub file_name: Option<&'a FileName>,
    pub cc_id: &'a CcId,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub path: &'static str,
    pub body: Bytes,
}

impl Question {
    /// For a recording.
    pub fn recording(ask: &Ask<'_>) -> Self {
        /// A field that is not used is left out: CC-FS refuses an empty one (0300002).
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Recording<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            file_name: Option<&'a FileName>,
            #[serde(skip_serializing_if = "Option::is_none")]
            call_id: Option<&'a CallId>,
            cc_id: &'a CcId,
        }
        let Ask { call_id, file_name, cc_id } = *ask;
        Self::new(PATH, &Recording { file_name, call_id, cc_id })
    }

    /// To have an index made of all that the account has recorded in `span`. CC-FS says at `callback`
    /// that it is there; nobody needs to answer.
    pub fn index(span: &Span, callback: &Url) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Bill<'a> {
            begin_time: String,
            end_time: String,
            data_type: &'static str,
            #[serde(rename = "callBackURL")]
            callback: &'a str,
        }
        let [begin_time, end_time] =
            [span.begin(), span.end()].map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        let callback = callback.as_str();
        Self::new(QUERY_BILL_DATA, &Bill { begin_time, end_time, data_type: "record", callback })
    }

    /// For a package that was made.
    pub fn package(name: &IndexName) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct File<'a> {
            bill_file_name: &'a str,
        }
        Self::new(DOWNLOAD_BILL_FILE, &File { bill_file_name: name.as_str() })
    }

    fn new(path: &'static str, fields: &impl Serialize) -> Self {
        #[derive(Serialize)]
        struct Message<'a, T> {
            request: Version,
            #[serde(rename = "msgBody")]
            fields: &'a T,
        }
        #[derive(Serialize)]
        struct Version {
            version: &'static str,
        }
        let message = Message { request: Version { version: "2.0" }, fields };
        let body = serde_json::to_vec(&message).expect("strings alone always serialise");
        Self { path, body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::package::ResponseId;
    use super::*;

    fn text(question: Question) -> String {
        String::from_utf8(question.body.into()).unwrap()
    }

    fn body(call_id: Option<&str>, file_name: Option<&str>) -> String {
        let call_id = call_id.map(|text| CallId::new(text).unwrap());
        let file_name = file_name.map(|text| FileName::new(text).unwrap());
        let cc_id = CcId::new("1").unwrap();
        let ask = Ask { call_id: call_id.as_ref(), file_name: file_name.as_ref(), cc_id: &cc_id };
        text(Question::recording(&ask))
    }

    #[test]
    fn the_body_is_the_vendors_and_leaves_out_what_is_not_used() {
        assert_eq!(
            body(Some("1777093663-792075"), Some("X:/4/0/20180416/512/1629533.V3")),
            r#"{"request":{"version":"2.0"},"msgBody":{"fileName":"X:/4/0/20180416/512/1629533.V3","callId":"1777093663-792075","ccId":"1"}}"#
        );
        assert_eq!(
            body(Some("1777093663-792075"), None),
            r#"{"request":{"version":"2.0"},"msgBody":{"callId":"1777093663-792075","ccId":"1"}}"#
        );
        assert_eq!(
            body(None, Some(r"X:\17\0\2043295.V3")),
            r#"{"request":{"version":"2.0"},"msgBody":{"fileName":"X:\\17\\0\\2043295.V3","ccId":"1"}}"#
        );
    }

    #[test]
    fn an_index_is_asked_for_as_the_vendor_says() {
        let span = Span::days(date(2026, 4, 25), date(2026, 4, 27)).unwrap();
        let callback = "https://callvault.invalid/".parse().unwrap();
        assert_eq!(
            text(Question::index(&span, &callback)),
            r#"{"request":{"version":"2.0"},"msgBody":{"beginTime":"2026-04-25 00:00:00","endTime":"2026-04-28 00:00:00","dataType":"record","callBackURL":"https://callvault.invalid/"}}"#
        );
        let name = ResponseId::new("9239cb50").unwrap().name(date(2018, 7, 2));
        assert_eq!(
            text(Question::package(&name)),
            r#"{"request":{"version":"2.0"},"msgBody":{"billFileName":"20180702_9239cb50.zip"}}"#
        );
    }
}
