//! Which tenants' messages wait by decision: they are paused, or the breaker of a server of theirs is
//! open.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::failure::Reason;

/// A tenant that is configured.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub paused: bool,
    /// Why the breakers of its servers are open, where they are.
    pub breakers: Vec<watch::Receiver<Option<Reason>>>,
}

/// How a tenant stands of which there is something to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub paused: bool,
    pub breaker_open: bool,
}

/// Those that are configured now.
#[derive(Debug, Default)]
pub struct Tenants(Mutex<Vec<Member>>);

impl Tenants {
    /// These are configured from now on, and no others.
    pub fn adopt(&self, members: Vec<Member>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// By id, those whose messages wait.
    pub fn seen(&self) -> HashMap<String, Standing> {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = |member: &Member| {
            let breaker_open = member.breakers.iter().any(|open| open.borrow().is_some());
            Standing { paused: member.paused, breaker_open }
        };
        let all = members.iter().map(|member| (member, standing(member)));
        let waiting = all.filter(|(_, standing)| *standing != Standing::default());
        waiting.map(|(member, standing)| (member.id.clone(), standing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_told_of_whose_messages_wait() {
        let breaker = watch::Sender::new(None);
        let member = |id: &str, paused| Member {
            id: id.to_owned(),
            paused,
            breakers: if id == "acme" { vec![breaker.subscribe()] } else { Vec::new() },
        };
        let tenants = Tenants::default();
        tenants.adopt(vec![member("acme", false), member("globex", true)]);
        let paused = Standing { paused: true, breaker_open: false };
        assert_eq!(tenants.seen(), [("globex".to_owned(), paused)].into());
        breaker.send_replace(Some(Reason::STORE_TIMEOUT));
        assert!(tenants.seen()["acme"].breaker_open);
        tenants.adopt(Vec::new());
        assert!(tenants.seen().is_empty());
    }
}
