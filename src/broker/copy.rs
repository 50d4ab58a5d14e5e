//! The copy of a message that takes its place in another queue. Pure.
//!
//! It must not know why there is one, nor where it goes.

use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use sha2::{Digest, Sha256};

/// Written to disk, AMQP's delivery mode 2.
pub(super) const PERSISTENT: u8 = 2;

/// The original's properties but for what would harm the copy: `user_id` of another closes the
/// channel, `expiration` would let it die in a queue where it waits.
pub(super) fn properties(
    original: &BasicProperties,
    body: &[u8],
    headers: FieldTable,
) -> BasicProperties {
    let mut copy = BasicProperties::default()
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message_id(original, body));
    let take = |value: &Option<ShortString>, with: fn(BasicProperties, ShortString) -> _, to| {
        match value {
            Some(value) => with(to, value.clone()),
            None => to,
        }
    };
    copy = take(original.content_type(), BasicProperties::with_content_type, copy);
    copy = take(original.content_encoding(), BasicProperties::with_content_encoding, copy);
    copy = take(original.correlation_id(), BasicProperties::with_correlation_id, copy);
    copy = take(original.reply_to(), BasicProperties::with_reply_to, copy);
    copy = take(original.kind(), BasicProperties::with_type, copy);
    copy = take(original.app_id(), BasicProperties::with_app_id, copy);
    if let Some(priority) = *original.priority() {
        copy = copy.with_priority(priority);
    }
    if let Some(timestamp) = *original.timestamp() {
        copy = copy.with_timestamp(timestamp);
    }
    copy
}

/// Its own id, or one that the same message gets each time: after a crash between copy and ack,
/// two copies can be told to be one message.
pub(super) fn message_id(properties: &BasicProperties, body: &[u8]) -> ShortString {
    if let Some(id) = properties.message_id() {
        return id.clone();
    }
    let mut hash = Sha256::new();
    hash.update(properties.kind().as_ref().map(ShortString::as_str).unwrap_or_default());
    hash.update([0]);
    hash.update(properties.timestamp().unwrap_or_default().to_be_bytes());
    hash.update(body);
    ShortString::from(hex::encode(hash.finalize()))
}
