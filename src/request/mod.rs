//! What a message asks for: bytes in, a validated request out. Pure; knows no broker.

mod names;

pub use names::{BadName, CallId, CcId, FileName, RequestId, TenantId};

/// What a message is, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    CallCompleted,
    DumpRequested,
    DumpItem,
    /// None of the above, or not readable.
    Invalid,
}

impl MessageType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallCompleted => "call.completed",
            Self::DumpRequested => "recording.dump-requested",
            Self::DumpItem => "recording.dump-item",
            Self::Invalid => "invalid",
        }
    }
}
