//! What callvault says.
/// An event, ready to be published.
pub struct Event {
    pub id: String,
    pub event_type: &'static str,
    pub routing_key: String,
    pub body: Vec<u8>,
}
