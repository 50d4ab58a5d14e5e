//! What is measured: so many recordings of one size, of one tenant.

/// The one tenant.
pub const TENANT: &str = "acme";

/// So many recordings of one size.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// Bytes of a recording.
    pub size: u64,
    /// As the simulator reads it at the end of a call id.
    pub kind: &'static str,
    pub count: usize,
    /// Before the measured ones: connections, pools and buffers are there afterwards.
    pub warm_up: usize,
}

pub const CASES: [Case; 3] = [
    Case { name: "64KiB", size: 64 << 10, kind: "w64k", count: 2000, warm_up: 200 },
    Case { name: "2MiB", size: 2 << 20, kind: "w2m", count: 600, warm_up: 64 },
    Case { name: "64MiB", size: 64 << 20, kind: "w64m", count: 16, warm_up: 2 },
];
