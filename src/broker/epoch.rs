//! The life of a channel: deliveries belong to it and end with it.
//!
//! It must not know what a delivery is.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Owned by whoever owns the channel. However that ends, also by abortion, the epoch ends with it.
pub(super) struct Epoch {
    member: Member,
}

/// Held by each delivery of the channel, for as long as it is in hand.
#[derive(Clone)]
pub(super) struct Member {
    over: CancellationToken,
    /// Counts those who hold it; the epoch is one of them.
    held: Arc<()>,
}

impl Epoch {
    pub(super) fn new() -> Self {
        Self { member: Member { over: CancellationToken::new(), held: Arc::new(()) } }
    }

    pub(super) fn member(&self) -> Member {
        self.member.clone()
    }

    /// Deliveries that are in hand now.
    pub(super) fn in_hand(&self) -> usize {
        Arc::strong_count(&self.member.held) - 1
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.member.over.cancel();
    }
}

impl Member {
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when the channel is dead; does not count as holding a delivery.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        self.over.clone().cancelled_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn members_are_counted_and_end_with_their_epoch() {
        let epoch = Epoch::new();
        let (first, second) = (epoch.member(), epoch.member());
        let over = first.over();
        assert_eq!(epoch.in_hand(), 2);
        drop(first);
        assert_eq!(epoch.in_hand(), 1);
        assert!(!second.is_over());
        drop(epoch);
        assert!(second.is_over());
        over.await;
    }
}
