//! Stub: F's wins at merge.

/// What the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreOperation {
    Put,
    Head,
    CreateMultipart,
    UploadPart,
    CompleteMultipart,
    AbortMultipart,
    ListMultipart,
}

/// Counts nothing.
#[derive(Debug, Default)]
pub struct Metrics {
    #[doc(hidden)]
    pub seen: std::sync::Mutex<Vec<(StoreOperation, String)>>,
}

impl Metrics {
    pub fn store_request(&self, operation: StoreOperation, result: &str) {
        self.seen.lock().expect("no panic holds the lock").push((operation, result.to_owned()));
    }
}
