//! Workers that die one after the other over messages that are not to blame.

use std::collections::BTreeSet;

use super::ccfs::Reply;
use super::eventually;
use super::world::{SOON, World};

/// So low that whatever is in hand when workers die is suspect soon.
pub const LIMIT: (&str, &str) = ("broker", "delivery_limit = 2");

/// In hand at every death, until they are suspects: at least so many.
const BYSTANDERS: u32 = 5;

/// One of so many lives lasts until a suspect is at work. Each has another one in hand: whoever is
/// at work at three deaths cannot be told from a poison.
const LONG_LIFE: u32 = 10;

impl World {
    /// Kills `kills` workers, each as soon as it is at work; the last one lives and archives all.
    pub async fn kill_innocent_workers(&self, kills: u32) {
        let keys = [LIMIT, ("ccfs", "read_timeout = \"5m\"")];
        let count = BYSTANDERS.max(kills / LONG_LIFE);
        let bystander = |n: u32| format!("1777093663-bystander{n}");
        let asked_for = |name: &str| self.ccfs.requests_for(name).len();
        let bystanders = || (0..count).map(|n| asked_for(&bystander(n))).sum::<usize>();
        for n in 0..count {
            self.ccfs.script(&bystander(n), [Reply::hang()]);
        }
        for kill in 0..kills {
            let before = bystanders();
            let mut worker = self.worker(&keys).await;
            if kill == 0 {
                for n in 0..count {
                    self.call(&bystander(n)).await;
                }
            }
            let fresh = format!("1777093663-fresh{kill}");
            self.call(&fresh).await;
            let long = kill % LONG_LIFE == LONG_LIFE - 1;
            let at_work =
                async || (asked_for(&fresh) > 0 && (!long || bystanders() > before)).then_some(());
            eventually("the worker is at work", SOON, at_work).await;
            worker.kill();
        }
        for n in 0..count {
            self.ccfs.script(&bystander(n), [Reply::wav(4096)]);
        }
        let worker = self.worker(&[LIMIT]).await;
        let mut archived = BTreeSet::new();
        while archived.len() < (count + kills) as usize {
            let event = self.event().await.json();
            assert_eq!(event["type"], "recording.archived", "{event}");
            archived.insert(event["subject"].to_string());
        }
        self.settled(&worker).await;
        worker.stop().await;
        assert_eq!(self.depth("suspect").await, 0);
        assert_eq!(self.depth("dead").await, 0);
    }
}
