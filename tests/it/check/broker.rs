//! What the broker lacks or refuses.

use insta::assert_snapshot;

use super::{check, filters};
use crate::support::broker::client::Rabbit;
use crate::support::broker::node;
use crate::support::ccfs::Reply;
use crate::support::unique;
use crate::support::world::World;

#[tokio::test]
async fn a_broker_that_is_not_there_or_knows_nobody_is_told_apart() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let here =
        |amqp: &str| world.config_at(amqp, &world.ccfs.url(), world.store.s3().endpoint(), &[]);
    let nobody = check(&here("amqp://guest:guest@127.0.0.1:1/%2f"), &[]).await;
    assert_eq!(nobody.code, 1);
    let wrong = check(&here(&world.amqp.replace("guest:guest", "guest:hunter2")), &[]).await;
    assert_eq!(wrong.code, 1);
    filters(&world).bind(|| {
        assert_snapshot!(nobody.part("broker"), @r"
        broker: callvault
          FAILED  login               connection refused by 127.0.0.1:PORT
                                      → check host and port of broker.url, that the broker runs, and broker.ca_file where it is amqps
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
        assert_snapshot!(wrong.part("broker"), @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.
                                      → correct user, password or virtual host of broker.url, or make them: `rabbitmqctl add_user`, `rabbitmqctl set_permissions`
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
    });
}

#[tokio::test]
async fn what_the_broker_lacks_is_named_with_the_command_that_makes_it() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let missing = check(&world.config(&[("broker", "declare = false")]), &[]).await;
    assert_eq!(missing.code, 1);
    let part = missing.part("broker");
    let jobs = world.queue("jobs");
    assert!(part.contains("FAILED  topology"), "{part}");
    assert!(part.contains(&format!("queue {jobs} (`rabbitmqadmin declare queue")), "{part}");
    assert!(part.contains("→ run the commands, or set broker.declare = true"), "{part}");

    // Another kind of queue under the name of one of ours: used as it is, and told.
    world.rabbit.declare(&world.queue("bulk"), Default::default()).await;
    let differs = check(&world.config(&[]), &[]).await;
    assert_eq!(differs.code, 0, "{}", differs.text);
    let part = differs.part("broker");
    let bulk = format!("note    topology            queue {} exists", world.queue("bulk"));
    assert!(part.contains(&bulk), "{part}");
}

#[tokio::test]
async fn a_user_who_may_not_is_told_what_to_grant() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    // The topology is there; the user may read the jobs and write nothing but events.
    assert_eq!(check(&world.config(&[]), &[]).await.code, 0);
    let user = unique("reader");
    let node = node().await;
    node.ctl(&["add_user", &user, "hunter2"]).await;
    let (read, write) = (format!("^{}\\.(jobs|bulk)$", world.prefix), &world.events_exchange);
    let write = format!("^{write}$");
    // A passive declaration needs no permission of its own, on 4.3 any one.
    let look = format!("^{}", world.prefix);
    node.ctl(&["set_permissions", &user, &look, &write, &read]).await;
    let amqp = world.amqp.replace("guest:guest", &format!("{user}:hunter2"));
    let endpoint = world.store.s3().endpoint();
    let keys = [("broker", "declare = false")];
    let limited = check(&world.config_at(&amqp, &world.ccfs.url(), endpoint, &keys), &[]).await;
    node.ctl(&["delete_user", &user]).await;
    assert_eq!(limited.code, 1);
    let mut settings = filters(&world);
    settings.add_filter(&user, "USER");
    settings.add_filter("- (read|write) access to", "- access to");
    settings.bind(|| assert_snapshot!(limited.part("broker"), @r"
    broker: callvault
      ok      login               127.0.0.1:PORT takes our user
      ok      topology            exchanges, queues and bindings are there
      ok      may consume         queue callvault.jobs
      ok      may consume         queue callvault.bulk
      FAILED  may consume         queue callvault.suspect: basic.consume: ACCESS_REFUSED - access to queue 'callvault.suspect' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the read permission for queue callvault.suspect (`rabbitmqctl set_permissions`)
      ok      may publish         exchange callvault-events
      FAILED  may publish         the default exchange: basic.publish: ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for the default exchange (`rabbitmqctl set_permissions`)
      FAILED  may publish         exchange callvault.retry.100ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.100ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.100ms (`rabbitmqctl set_permissions`)
      FAILED  may publish         exchange callvault.retry.200ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.200ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.200ms (`rabbitmqctl set_permissions`)
    "));
    assert_eq!(Rabbit::connect(&world.amqp).await.ready(&world.queue("jobs")).await, 0);
}
