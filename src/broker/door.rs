//! Where a URL of the broker leads, and as whom: all of it but the password. Pure.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::names::Names;
use crate::config;
use crate::shell::{quoted, word};

/// What cannot stand in a URL as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Clone, Debug)]
pub(super) struct Door {
    pub host: String,
    pub port: u16,
    pub vhost: String,
    pub user: String,
    /// Over TLS.
    pub secure: bool,
}

impl Door {
    pub(super) fn of(uri: &AMQPUri) -> Self {
        Self {
            host: uri.authority.host.clone(),
            port: uri.authority.port,
            vhost: uri.vhost.clone(),
            user: uri.authority.userinfo.username.clone(),
            secure: uri.scheme == AMQPScheme::AMQPS,
        }
    }

    /// Host and port, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What is said there can be read on its way.
    pub(super) fn is_plain(&self) -> bool {
        !self.secure && !config::is_this_machine(&self.host)
    }

    /// The permissions of a worker, as `rabbitmqctl` grants them to this user.
    pub(super) fn grant(&self, names: &Names) -> String {
        let Names { prefix, calls, events, .. } = names;
        let [queues, calls, events] = [prefix, calls, events].map(|name| literal(name));
        let configure = format!(r"^({queues}\..*|{calls}|{events})$");
        let write = format!(r"^({queues}\..*|{calls}|{events}|amq\.default)$");
        let read = format!(r"^({queues}\..*|{calls})$");
        let [configure, write, read] = [configure, write, read].map(|pattern| quoted(&pattern));
        let (vhost, user) = (word(&self.vhost), word(&self.user));
        format!("rabbitmqctl set_permissions -p {vhost} {user} {configure} {write} {read}")
    }
}

/// As it stands in a broker URL.
impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place(), utf8_percent_encode(&self.vhost, ENCODED))
    }
}

/// A name in a regular expression.
fn literal(name: &str) -> String {
    let special = |c: char| r"\^$.|?*+()[]{}".contains(c);
    let escaped = name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::tests::settings;

    #[test]
    fn what_is_granted_is_what_the_first_setup_grants() {
        let uri: AMQPUri = "amqp://callvault:p@h/%2f".parse().unwrap();
        let settings = config::Broker { queue_prefix: "callvault".into(), ..settings() };
        let granted = Door::of(&uri).grant(&Names::new(&settings)).replace(" -p /", "");
        let page = include_str!("../../docs/OPERATIONS.md");
        assert!(page.contains(&granted), "{granted}");
    }

    #[test]
    fn a_name_is_granted_to_the_letter() {
        let uri: AMQPUri = "amqp://it%27s:p@h/a%20b".parse().unwrap();
        let settings = config::Broker { calls_exchange: "calls+1".into(), ..settings() };
        let granted = Door::of(&uri).grant(&Names::new(&settings));
        assert!(
            granted.starts_with(r"rabbitmqctl set_permissions -p 'a b' 'it'\''s' "),
            "{granted}"
        );
        assert!(granted.contains(r"|calls\+1|"), "{granted}");
    }
}
