//! Why a broker cannot be reached or does not let us in, and what to do about it: the key to change,
//! or the command to run. Pure.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use super::connection::{Fault, describe};
use super::door::Door;
use super::names::Names;
use crate::config;
use crate::shell::word;
use crate::trust;

const WHERE: &str = "check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the \
                     management's), and that RabbitMQ runs there";

/// The broker does not let this user do it.
pub(super) fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}

/// Of an open connection: the virtual host is none, or not for this user.
fn is_about_the_vhost(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)))
}

/// Nobody answers.
pub(super) fn silent(why: impl Into<String>) -> Fault {
    Fault::new(why).advising(format!("{WHERE}, and that no firewall stands between"))
}

/// A connection that did not come to be. `place` is for people, `heard` how what answered begins,
/// where that is no AMQP.
pub(super) fn fault(
    error: &lapin::Error,
    heard: Option<[u8; 4]>,
    place: &str,
    door: &Door,
    settings: &config::Broker,
) -> Fault {
    if is_refusal(error) {
        let why = format!("login refused by {place}: {}", describe(error));
        return Fault::refused_login(why).advising(login(door));
    }
    if is_about_the_vhost(error) {
        let said = describe(error);
        let advice = vhost(&said, door, settings);
        return Fault::refused_login(format!("login refused by {place}: {said}")).advising(advice);
    }
    if let Some((speaks, advice)) = heard.and_then(language) {
        return Fault::new(format!("what answers at {place} {speaks}")).advising(advice);
    }
    let said = describe(error);
    if trust::is_no_tls(&said) {
        let advice = "write amqp:// in broker.url, or name the port that speaks TLS (5671)";
        return Fault::new(format!("what answers at {place} does not speak TLS")).advising(advice);
    }
    let refused = matches!(error.kind(), ErrorKind::IOError(io)
        if io.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused {
        return Fault::new(format!("connection refused by {place}")).advising(WHERE);
    }
    let advice = trust::advice(&said, "broker.url", "broker.ca_file").unwrap_or_else(|| {
        let certificate = "; where it asks its clients for a certificate, name ours in \
                           broker.client_cert_file and its key in broker.client_key_file";
        format!("{WHERE}{}", if door.secure { certificate } else { "" })
    });
    Fault::new(format!("cannot connect to {place}: {said}")).advising(advice)
}

/// What speaks so, and what to change.
fn language(first: [u8; 4]) -> Option<(&'static str, &'static str)> {
    match &first {
        // Records of TLS: an alert, a handshake.
        [0x15 | 0x16, 3, ..] => Some((
            "speaks TLS",
            "write amqps:// in broker.url, or name the port for plain AMQP (5672)",
        )),
        b"HTTP" => Some(("is a web server", WHERE)),
        b"AMQP" => None,
        _ => Some(("does not speak AMQP", WHERE)),
    }
}

/// The user is not known, or with another password.
fn login(door: &Door) -> String {
    if door.user == "guest" && !config::is_this_machine(&door.host) {
        return "RabbitMQ lets the user guest in from its own machine alone: make another one \
                (`rabbitmqctl add_user callvault`), and name it in broker.url"
            .to_owned();
    }
    let user = word(&door.user);
    format!(
        "correct user and password of broker.url; on the broker `rabbitmqctl add_user {user}` \
         makes the user, `rabbitmqctl change_password {user}` sets the password"
    )
}

/// `said` is what the broker says of the virtual host.
fn vhost(said: &str, door: &Door, settings: &config::Broker) -> String {
    let (name, grant) = (word(&door.vhost), door.grant(&Names::new(settings)));
    if said.contains("not found") {
        return format!(
            "correct the virtual host {name} at the end of broker.url (%2f stands for a slash in \
             it), or make it: `rabbitmqctl add_vhost {name}`, then `{grant}`"
        );
    }
    if said.contains("limit") || said.contains("down") {
        return format!(
            "look at the virtual host: `rabbitmqctl list_vhost_limits -p {name}`, `rabbitmqctl \
             list_vhosts name cluster_state`"
        );
    }
    format!("let the user into the virtual host: `{grant}`; or correct the end of broker.url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_something_else_is_known_by_how_it_begins() {
        let speaks = |first: &[u8; 4]| language(*first).map(|(speaks, _)| speaks);
        assert_eq!(speaks(b"\x15\x03\x03\0"), Some("speaks TLS"));
        assert_eq!(speaks(b"HTTP"), Some("is a web server"));
        assert_eq!(speaks(b"SSH-"), Some("does not speak AMQP"));
        assert_eq!(speaks(b"AMQP"), None, "another version: lapin says so");
    }

    #[test]
    fn guest_is_told_that_it_is_for_its_own_machine_alone() {
        let door = |url: &str| Door::of(&url.parse().unwrap());
        let here = login(&door("amqp://guest:guest@127.0.0.1/%2f"));
        let there = login(&door("amqp://guest:guest@mq.example.com/%2f"));
        assert!(here.contains("change_password guest"), "{here}");
        assert!(there.contains("its own machine alone"), "{there}");
    }
}
