//! The topology as others make it: commands for RabbitMQ's tools, or definitions to import. Pure.

use serde_json::{Value, json};

use super::plan::{Item, Plan, arguments_of, kind_name};
use crate::broker::connection::{Fault, Remedy};
use crate::shell::{quoted, word};

/// Which `rabbitmqadmin` reads the commands; the two have no form in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// That of RabbitMQ up to 4.2, which the management plugin hands out.
    V1,
    /// A program of its own, which alone comes with 4.3.
    V2,
}

impl Plan {
    /// A command for each item, in an order in which they can be run.
    pub(in crate::broker) fn commands(&self, vhost: &str, admin: Admin) -> Vec<String> {
        self.items.iter().map(|item| item.command(vhost, admin)).collect()
    }

    /// Says what is missing, with the commands that make it.
    pub(super) fn missing(&self, missing: &[&Item], vhost: &str) -> Fault {
        let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let all = missing.iter().copied().chain(self.bindings_of(missing));
        let commands = all.map(|item| item.command(vhost, Admin::V1)).collect();
        let advice = "have somebody who may run what `callvault topology` prints, or set \
                      broker.declare = true"
            .to_owned();
        Fault::new(format!("missing: {}", names.join(", "))).with(Remedy { advice, commands })
    }

    /// What `rabbitmqctl import_definitions` reads.
    pub(in crate::broker) fn definitions(&self, vhost: &str) -> Value {
        let (mut exchanges, mut queues, mut bindings) = (Vec::new(), Vec::new(), Vec::new());
        for item in &self.items {
            match item {
                Item::Exchange { name, kind } => exchanges.push(json!({
                    "vhost": vhost, "name": name, "type": kind_name(kind), "durable": true,
                    "auto_delete": false, "internal": false, "arguments": {},
                })),
                Item::Queue { name, arguments } => queues.push(json!({
                    "vhost": vhost, "name": name, "durable": true, "auto_delete": false,
                    "arguments": arguments_of(arguments),
                })),
                Item::Binding { queue, exchange, key } => bindings.push(json!({
                    "vhost": vhost, "source": exchange, "destination": queue,
                    "destination_type": "queue", "routing_key": key, "arguments": {},
                })),
            }
        }
        json!({ "exchanges": exchanges, "queues": queues, "bindings": bindings })
    }
}

impl Item {
    /// A command that makes it.
    pub(super) fn command(&self, vhost: &str, admin: Admin) -> String {
        // What stands in quotes stands in them everywhere, so that the lines look alike.
        let (what, parts) = match self {
            Self::Exchange { name, kind } => (
                "exchange",
                vec![
                    ("name", word(name)),
                    ("type", kind_name(kind).to_owned()),
                    ("durable", "true".to_owned()),
                ],
            ),
            Self::Queue { name, arguments } => {
                let mut parts = vec![("name", word(name)), ("durable", "true".to_owned())];
                if admin == Admin::V2 {
                    // Else it would make a classic one, whatever the arguments say.
                    parts.insert(1, ("type", "quorum".to_owned()));
                }
                parts.push(("arguments", quoted(&arguments_of(arguments).to_string())));
                ("queue", parts)
            }
            Self::Binding { queue, exchange, key } => {
                let mut parts = vec![("source", word(exchange)), ("destination", word(queue))];
                if admin == Admin::V2 {
                    parts.insert(1, ("destination_type", "queue".to_owned()));
                }
                parts.push(("routing_key", quoted(key)));
                ("binding", parts)
            }
        };
        let parts: String = parts
            .into_iter()
            .map(|(name, value)| match admin {
                Admin::V1 => format!(" {name}={value}"),
                Admin::V2 => format!(" --{} {value}", name.replace('_', "-")),
            })
            .collect();
        format!("rabbitmqadmin --vhost {} declare {what}{parts}", word(vhost))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::tests::settings;

    fn plan() -> Plan {
        Plan::new(&settings(), &[Duration::from_secs(5)])
    }

    #[test]
    fn each_tool_gets_commands_in_its_own_form() {
        let first = |admin| plan().commands("a b", admin).swap_remove(0);
        assert_eq!(
            first(Admin::V1),
            "rabbitmqadmin --vhost 'a b' declare exchange name=calls type=topic durable=true"
        );
        assert_eq!(
            first(Admin::V2),
            "rabbitmqadmin --vhost 'a b' declare exchange --name calls --type topic --durable true"
        );
    }

    #[test]
    fn what_is_missing_is_said_with_the_commands_that_make_it_and_its_bindings() {
        let plan = plan();
        let gone: Vec<_> = plan.items.iter().filter(|item| item.name() == "cv.retry.5s").collect();
        let gone = &gone[1..2];
        let said = plan.missing(gone, "/");
        assert_eq!(said.why(), "missing: queue cv.retry.5s");
        let [queue, binding] = said.commands() else { panic!("{:?}", said.commands()) };
        assert!(queue.starts_with("rabbitmqadmin --vhost / declare queue name=cv.retry.5s"));
        assert!(queue.contains(r#""x-message-ttl":5000"#), "{queue}");
        assert!(binding.contains("declare binding source=cv.retry.5s destination=cv.retry.5s"));
    }

    #[test]
    fn definitions_hold_all_there_is() {
        let (plan, all) = (plan(), plan().definitions("/"));
        let count = |what: &str| all[what].as_array().unwrap().len();
        assert_eq!(count("exchanges") + count("queues") + count("bindings"), plan.items.len());
        assert_eq!(all["queues"][0]["name"], "cv.dead");
        assert_eq!(all["queues"][0]["arguments"]["x-queue-type"], "quorum");
    }
}
