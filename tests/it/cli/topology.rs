//! `callvault topology`: what others make is what a worker would have declared.

use insta::assert_snapshot;

use super::{Desk, LEAST};
use crate::support::broker::client::Rabbit;
use crate::support::broker::{node, programs};
use crate::support::ccfs::Reply;
use crate::support::unique;
use crate::support::worker::Worker;
use crate::support::world::World;

#[test]
fn commands_are_a_line_each_for_either_tool() {
    let config = LEAST.replace("/%2f", "/calls%20one");
    let desk = Desk::new(&(config + "[retry]\ndelays = [\"30s\"]\n"));
    assert_snapshot!(desk.printed("topology --config callvault.toml", &[]), @r#"
    rabbitmqadmin --vhost 'calls one' declare exchange name=calls type=topic durable=true
    rabbitmqadmin --vhost 'calls one' declare exchange name=recordings type=topic durable=true
    rabbitmqadmin --vhost 'calls one' declare queue name=callvault.dead durable=true arguments='{"x-delivery-limit":1000000000,"x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue name=callvault.suspect durable=true arguments='{"x-delivery-limit":1000000000,"x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue name=callvault.jobs durable=true arguments='{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"callvault.suspect","x-dead-letter-strategy":"at-least-once","x-delivery-limit":20,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue name=callvault.bulk durable=true arguments='{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"callvault.suspect","x-dead-letter-strategy":"at-least-once","x-delivery-limit":20,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare binding source=calls destination=callvault.jobs routing_key='call.completed.#'
    rabbitmqadmin --vhost 'calls one' declare binding source=calls destination=callvault.jobs routing_key='recording.dump-requested.#'
    rabbitmqadmin --vhost 'calls one' declare exchange name=callvault.retry.30s type=fanout durable=true
    rabbitmqadmin --vhost 'calls one' declare queue name=callvault.retry.30s durable=true arguments='{"x-dead-letter-exchange":"","x-dead-letter-strategy":"at-least-once","x-delivery-limit":1000000000,"x-message-ttl":30000,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare binding source=callvault.retry.30s destination=callvault.retry.30s routing_key=''
    "#);
    assert_snapshot!(desk.printed("topology --v2 --config callvault.toml", &[]), @r#"
    rabbitmqadmin --vhost 'calls one' declare exchange --name calls --type topic --durable true
    rabbitmqadmin --vhost 'calls one' declare exchange --name recordings --type topic --durable true
    rabbitmqadmin --vhost 'calls one' declare queue --name callvault.dead --type quorum --durable true --arguments '{"x-delivery-limit":1000000000,"x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue --name callvault.suspect --type quorum --durable true --arguments '{"x-delivery-limit":1000000000,"x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue --name callvault.jobs --type quorum --durable true --arguments '{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"callvault.suspect","x-dead-letter-strategy":"at-least-once","x-delivery-limit":20,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare queue --name callvault.bulk --type quorum --durable true --arguments '{"x-dead-letter-exchange":"","x-dead-letter-routing-key":"callvault.suspect","x-dead-letter-strategy":"at-least-once","x-delivery-limit":20,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare binding --source calls --destination-type queue --destination callvault.jobs --routing-key 'call.completed.#'
    rabbitmqadmin --vhost 'calls one' declare binding --source calls --destination-type queue --destination callvault.jobs --routing-key 'recording.dump-requested.#'
    rabbitmqadmin --vhost 'calls one' declare exchange --name callvault.retry.30s --type fanout --durable true
    rabbitmqadmin --vhost 'calls one' declare queue --name callvault.retry.30s --type quorum --durable true --arguments '{"x-dead-letter-exchange":"","x-dead-letter-strategy":"at-least-once","x-delivery-limit":1000000000,"x-message-ttl":30000,"x-overflow":"reject-publish","x-queue-type":"quorum"}'
    rabbitmqadmin --vhost 'calls one' declare binding --source callvault.retry.30s --destination-type queue --destination callvault.retry.30s --routing-key ''
    "#);
    let told = desk.told("topology --definitions --v2 --config callvault.toml", &[], 2);
    assert!(told.contains("cannot be used with"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_make_is_what_a_worker_looks_for() {
    let node = node().await;
    for form in ["commands", "definitions"] {
        let mut world = World::new().await;
        let vhost = unique("made");
        node.ctl(&["add_vhost", &vhost]).await;
        node.ctl(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"]).await;
        world.amqp = world.amqp.replace("/%2f", &format!("/{vhost}"));
        world.rabbit = Rabbit::connect(&world.amqp).await;
        let config = world.config(&[("broker", "declare = false")]);
        let desk = Desk::new(&config);
        let print = |options: &str| {
            desk.printed(&format!("topology {options} --config callvault.toml"), &[])
        };
        if form == "commands" {
            let v2 = programs::has_rabbitmqadmin_v2();
            node.script(&print(if v2 { "--v2" } else { "" })).await;
        } else {
            let file = node.file(&format!("{vhost}.json"), &print("--definitions"));
            node.ctl(&["import_definitions", &file.display().to_string()]).await;
        }
        // Not less than a worker needs, and as it wants it.
        world.ccfs.default_reply(Reply::not_found());
        let checked = desk.run("check --config callvault.toml");
        let part = checked.stdout.split("\n\n").next().unwrap_or_default();
        assert!(part.contains("ok      topology            exchanges, queues"), "{form}: {part}");
        assert!(!part.contains("FAILED") && !part.contains("note"), "{form}: {part}");
        // Not more either: what a worker declares besides would be there now.
        let made = listed(&vhost).await;
        let declares = World::config(&world, &[]);
        let worker = Worker::start(&declares).ready().await;
        assert_eq!(listed(&vhost).await, made, "{form}");
        worker.stop().await;

        world.events = world.rabbit.keep(&world.events_exchange, "#").await;
        world.ccfs.default_reply(Reply::wav(4000));
        let worker = Worker::start(&config).ready().await;
        world.call("1777093663-1").await;
        assert_eq!(world.event().await.json()["type"], "recording.archived", "{form}");
        worker.stop().await;
        node.ctl(&["delete_vhost", &vhost]).await;
    }
}

/// Everything of a virtual host, as RabbitMQ lists it.
async fn listed(vhost: &str) -> Vec<String> {
    let mut all = Vec::new();
    for what in [
        &["list_exchanges", "name", "type", "durable", "auto_delete", "internal", "arguments"][..],
        &["list_queues", "name", "durable", "auto_delete", "arguments", "policy"],
        &["list_bindings", "source_name", "destination_name", "routing_key", "arguments"],
    ] {
        let line = [&what[..1], &["-p", vhost], &what[1..]].concat();
        let listed = node().await.ctl(&line).await;
        all.extend(listed.lines().map(str::to_owned));
    }
    all.sort_unstable();
    all
}
