//! A broker that does not let us in is told the same way by every command that wants in.

use insta::assert_snapshot;

use super::{Desk, LEAST};
use crate::support::broker::node;
use crate::support::eventually;
use crate::support::unique;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_is_not_there_is_named_with_its_command_everywhere() {
    let amqp = node().await.url().replace("/%2f", "/nowhere");
    let config = LEAST.replace("amqp://guest:guest@127.0.0.1:1/%2f", &amqp);
    let desk = Desk::new(&config);
    let list = desk.told("dead list --config callvault.toml", &[], 1);
    let line = "dump --config callvault.toml --tenant acme --call-id 1777093663-1";
    let dump = desk.told(line, &[], 1);
    let worker = Worker::start(&config);
    let warned = |log: String| log.lines().find(|line| line.contains("WARN")).map(str::to_owned);
    let log = eventually("it says why", SOON, || async { warned(worker.log()) }).await;
    let (_, log) = log.split_once("WARN").expect("a warning");
    let (status, ready) = worker.get("/readyz").await;
    assert_eq!(status, 503);
    let listen = format!("127.0.0.1:{}", worker.port());
    let asked = [("CALLVAULT__HTTP__LISTEN", listen.as_str())];
    let health = desk.told("healthcheck --config callvault.toml", &asked, 1);
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let reason = ready["reason"].as_str().expect("a reason");
    assert_eq!(health, format!("callvault: not ready: connecting: {reason}\n"));
    worker.stop().await;
    insta::with_settings!({ filters => vec![
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        ("connection to (consume|publish)", "connection to SIDE"),
    ] }, {
        assert_snapshot!(list, @r"callvault: broker: login refused by 127.0.0.1:PORT: NOT_ALLOWED - vhost nowhere not found; correct the virtual host nowhere at the end of broker.url (%2f stands for a slash in it), or make it: `rabbitmqctl add_vhost nowhere`, then `rabbitmqctl set_permissions -p nowhere guest '^(callvault\..*|calls|recordings)$' '^(callvault\..*|calls|recordings|amq\.default)$' '^(callvault\..*|calls)$'`");
        assert_snapshot!(dump, @r"callvault: cannot work with the broker: login refused by 127.0.0.1:PORT: NOT_ALLOWED - vhost nowhere not found; correct the virtual host nowhere at the end of broker.url (%2f stands for a slash in it), or make it: `rabbitmqctl add_vhost nowhere`, then `rabbitmqctl set_permissions -p nowhere guest '^(callvault\..*|calls|recordings)$' '^(callvault\..*|calls|recordings|amq\.default)$' '^(callvault\..*|calls)$'`");
        assert_snapshot!(log.trim(), @r"broker, connection to SIDE: login refused by 127.0.0.1:PORT: NOT_ALLOWED - vhost nowhere not found; correct the virtual host nowhere at the end of broker.url (%2f stands for a slash in it), or make it: `rabbitmqctl add_vhost nowhere`, then `rabbitmqctl set_permissions -p nowhere guest '^(callvault\..*|calls|recordings)$' '^(callvault\..*|calls|recordings|amq\.default)$' '^(callvault\..*|calls)$'`; trying until it works");
        assert_snapshot!(reason, @r"login refused by 127.0.0.1:PORT: NOT_ALLOWED - vhost nowhere not found; correct the virtual host nowhere at the end of broker.url (%2f stands for a slash in it), or make it: `rabbitmqctl add_vhost nowhere`, then `rabbitmqctl set_permissions -p nowhere guest '^(callvault\..*|calls|recordings)$' '^(callvault\..*|calls|recordings|amq\.default)$' '^(callvault\..*|calls)$'`");
    });
}

/// Everybody may log in, and may do nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing_is_told_with_its_command_in_the_log() {
    let world = World::new().await;
    world.worker(&[]).await.stop().await;
    let (node, user) = (node().await, unique("nobody"));
    node.ctl(&["add_user", &user, "hunter2"]).await;
    let amqp = world.amqp.replace("guest:guest", &format!("{user}:hunter2"));
    let config = |keys: &[(&str, &str)]| {
        world.config_at(&amqp, &world.ccfs.url(), world.store.s3().endpoint(), keys)
    };
    let all = format!("^{}", world.prefix);
    let mut told = Vec::new();
    for (permissions, declare, seen) in [
        (["^$"; 3], "declare = true", "exchange.declare"),
        ([&all, &all, "^$"], "declare = false", "no queue can be consumed"),
    ] {
        let [configure, write, read] = permissions;
        node.ctl(&["set_permissions", &user, configure, write, read]).await;
        let worker = Worker::start(&config(&[("broker", declare)]));
        let reason = eventually("it says why", SOON, || async {
            let (_, ready) = worker.get("/readyz").await;
            let ready: serde_json::Value = serde_json::from_str(&ready).ok()?;
            let reason = ready["reason"].as_str().filter(|reason| reason.contains(seen));
            reason.map(str::to_owned)
        })
        .await;
        let log = worker.stop().await;
        assert!(log.contains("rabbitmqctl set_permissions"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        told.push(reason);
    }
    node.ctl(&["delete_user", &user]).await;
    insta::with_settings!({ filters => vec![
        (world.prefix.as_str(), "callvault"), (user.as_str(), "USER"),
        ("callvault.(jobs|bulk|suspect)(:|')", "callvault.QUEUE$2"),
        // As RabbitMQ 4 has it.
        ("- (configure|read|write) access to", "- access to"),
    ] }, { assert_snapshot!(told.join("\n"), @r"
    exchange callvault-calls: exchange.declare: ACCESS_REFUSED - access to exchange 'callvault-calls' in vhost '/' refused for user 'USER'; grant the user of broker.url what a worker needs: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
    no queue can be consumed; callvault.QUEUE: basic.consume: ACCESS_REFUSED - access to queue 'callvault.QUEUE' in vhost '/' refused for user 'USER'; grant the user of broker.url what a worker needs: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
    "); });
}
