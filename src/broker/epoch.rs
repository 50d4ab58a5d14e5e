//! The life of a channel: deliveries belong to it and end with it.
//!
//! It must not know what a delivery is.

use std::sync::{Arc, Weak};

use lapin::Channel;
use tokio_util::sync::CancellationToken;

/// Owns the channel (tests: anything). However that ends, also by abortion, the epoch ends with it.
pub(super) struct Epoch<C = Channel> {
    over: CancellationToken,
    channel: Arc<C>,
}

/// Held by each delivery of the channel, for as long as it is in hand.
pub(super) struct Member<C = Channel> {
    over: CancellationToken,
    /// Those who hold it are counted by it, and do not keep the channel open.
    channel: Weak<C>,
}

impl<C> Epoch<C> {
    pub(super) fn new(channel: C) -> Self {
        Self { over: CancellationToken::new(), channel: Arc::new(channel) }
    }

    pub(super) fn channel(&self) -> &C {
        &self.channel
    }

    pub(super) fn member(&self) -> Member<C> {
        Member { over: self.over.clone(), channel: Arc::downgrade(&self.channel) }
    }

    /// Deliveries that are in hand now.
    pub(super) fn in_hand(&self) -> usize {
        Arc::weak_count(&self.channel)
    }
}

impl<C> Drop for Epoch<C> {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl<C> Member<C> {
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Resolves when the channel is dead; does not count as holding a delivery.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + use<C> {
        self.over.clone().cancelled_owned()
    }

    /// The channel, for a moment; `None` once it is over.
    pub(super) fn channel(&self) -> Option<Arc<C>> {
        self.channel.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn members_are_counted_and_end_with_their_epoch() {
        let epoch = Epoch::new("channel");
        let (first, second) = (epoch.member(), epoch.member());
        let over = first.over();
        assert_eq!(epoch.in_hand(), 2);
        drop(first);
        assert_eq!(epoch.in_hand(), 1);
        assert!(!second.is_over());
        assert_eq!(second.channel().as_deref(), Some(&"channel"));
        drop(epoch);
        assert!(second.is_over());
        assert_eq!(second.channel(), None, "nobody keeps it open");
        over.await;
    }
}
