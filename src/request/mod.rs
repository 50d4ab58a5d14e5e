//! What a message asks for: bytes in, a validated request out. Pure; knows no broker.

mod names;

pub use names::{BadName, CallId, CcId, FileName, RequestId, TenantId};
