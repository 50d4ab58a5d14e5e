//! What the broker lacks or refuses.

use insta::assert_snapshot;
use lapin::ExchangeKind;

use super::{check, filters};
use crate::support::broker::client::{Rabbit, table};
use crate::support::broker::{Node, node};
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
                                      → check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
        assert_snapshot!(wrong.part("broker"), @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile
                                      → correct user and password of broker.url; on the broker `rabbitmqctl add_user guest` makes the user, `rabbitmqctl change_password guest` sets the password
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
    let command = format!("\nrabbitmqadmin --vhost / declare queue name={jobs} durable=true");
    assert!(part.contains(&command), "{part}");
    assert!(part.contains("`callvault topology`") && part.contains("broker.declare = true"));

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
                                  → grant the user of broker.url the read permission for queue callvault.suspect: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
      ok      may publish         exchange callvault-events
      FAILED  may publish         the default exchange: basic.publish: ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for the default exchange: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
      FAILED  may publish         exchange callvault.retry.100ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.100ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.100ms: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
      FAILED  may publish         exchange callvault.retry.200ms: basic.publish: ACCESS_REFUSED - access to exchange 'callvault.retry.200ms' in vhost '/' refused for user 'USER'
                                  → grant the user of broker.url the write permission for exchange callvault.retry.200ms: `rabbitmqctl set_permissions -p / USER '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
    "));
    assert_eq!(Rabbit::connect(&world.amqp).await.ready(&world.queue("jobs")).await, 0);
}

/// What `check` says of a broker at this URL, or with these keys.
async fn said(world: &World, amqp: &str, keys: &[(&str, &str)]) -> (i32, String) {
    let (ccfs, s3) = (world.ccfs.url(), world.store.s3().endpoint().to_owned());
    let checked = check(&world.config_at(amqp, &ccfs, &s3, keys), &[]).await;
    (checked.code, checked.part("broker"))
}

#[tokio::test]
async fn a_virtual_host_is_named_with_the_command_that_makes_or_opens_it() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let at = |vhost: &str| world.amqp.replace("/%2f", &format!("/{vhost}"));
    let (code, nowhere) = said(&world, &at("nowhere"), &[]).await;
    assert_eq!(code, 1);
    let (node, vhost) = (node().await, unique("closed"));
    node.ctl(&["add_vhost", &vhost]).await;
    let (code, closed) = said(&world, &at(&vhost), &[]).await;
    assert_eq!(code, 1);
    node.ctl(&["set_vhost_limits", "-p", &vhost, r#"{"max-connections": 0}"#]).await;
    node.ctl(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"]).await;
    let (code, full) = said(&world, &at(&vhost), &[]).await;
    assert_eq!(code, 1);
    node.ctl(&["delete_vhost", &vhost]).await;
    let mut settings = filters(&world);
    settings.add_filter(&vhost, "closed");
    settings.bind(|| {
        assert_snapshot!(nowhere, @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: NOT_ALLOWED - vhost nowhere not found
                                      → correct the virtual host nowhere at the end of broker.url (%2f stands for a slash in it), or make it: `rabbitmqctl add_vhost nowhere`, then `rabbitmqctl set_permissions -p nowhere guest '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
        assert_snapshot!(closed, @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: NOT_ALLOWED - access to vhost 'closed' refused for user 'guest'
                                      → let the user into the virtual host: `rabbitmqctl set_permissions -p closed guest '^(callvault\..*|callvault-calls|callvault-events)$' '^(callvault\..*|callvault-calls|callvault-events|amq\.default)$' '^(callvault\..*|callvault-calls)$'`; or correct the end of broker.url
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
        assert_snapshot!(full, @r"
        broker: callvault
          FAILED  login               login refused by 127.0.0.1:PORT: NOT_ALLOWED - access to vhost 'closed' refused for user 'guest': connection limit (0) is reached
                                      → look at the virtual host: `rabbitmqctl list_vhost_limits -p closed`, `rabbitmqctl list_vhosts name cluster_state`
          skipped topology            without a login
          skipped may consume         without a login
          skipped may publish         without a login
        ");
    });
}

#[tokio::test]
async fn what_speaks_something_else_is_told_by_what_it_speaks() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let node = Node::start_with_tls().await;
    let tls = node.tls.as_ref().expect("started with it");
    let ca = format!("ca_file = {:?}", tls.ca_file.display().to_string());
    let plain_port = tls.url.replace(&tls.port.to_string(), &node.amqp_port().to_string());
    let no_tls = said(&world, &plain_port, &[("broker", &ca)]).await;
    let tls_port = format!("amqp://guest:guest@127.0.0.1:{}/%2f", tls.port);
    let is_tls = said(&world, &tls_port, &[]).await;
    let management = node.management_url().replace("http://", "amqp://guest:guest@");
    let web = said(&world, &management, &[]).await;
    let unknown = said(&world, &tls.url, &[]).await;
    let no_certificate = said(&world, &tls.url, &[("broker", &ca)]).await;
    let mut settings = filters(&world);
    // Its end may be heard before its answer.
    settings.add_filter(
        r"what answers at (127\.0\.0\.1:PORT) is a web server",
        "cannot connect to $1: connection aborted",
    );
    // RabbitMQ 4 says it, 3.10 just ends.
    settings.add_filter(
        r"Connection reset by peer \(os error 104\)|received fatal alert: CertificateRequired",
        "ENDED",
    );
    settings.bind(|| {
        assert_snapshot!(first(&no_tls), @r"
        FAILED  login               what answers at localhost:PORT does not speak TLS
                                    → write amqp:// in broker.url, or name the port that speaks TLS (5671)
        ");
        assert_snapshot!(first(&is_tls), @r"
        FAILED  login               what answers at 127.0.0.1:PORT speaks TLS
                                    → write amqps:// in broker.url, or name the port for plain AMQP (5672)
        ");
        assert_snapshot!(first(&web), @r"
        FAILED  login               cannot connect to 127.0.0.1:PORT: connection aborted
                                    → check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there
        ");
        assert_snapshot!(first(&unknown), @r"
        FAILED  login               cannot connect to localhost:PORT: invalid peer certificate: UnknownIssuer
                                    → name the CA that signed it in broker.ca_file (PEM)
        ");
        assert_snapshot!(first(&no_certificate), @r"
        FAILED  login               cannot connect to localhost:PORT: ENDED
                                    → check host and port of broker.url (5672, or 5671 with amqps://; 15672 is the management's), and that RabbitMQ runs there; where it asks its clients for a certificate, name ours in broker.client_cert_file and its key in broker.client_key_file
        ");
    });
}

/// The first finding of a check that failed.
fn first((code, part): &(i32, String)) -> String {
    assert_eq!(*code, 1, "{part}");
    part.lines().skip(1).take(2).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn an_exchange_of_another_type_fails_whoever_declares() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let (calls, events) = (world.prefix.clone() + "-c", world.prefix.clone() + "-e");
    world.rabbit.exchange(&calls, ExchangeKind::Direct).await;
    world.rabbit.exchange(&events, ExchangeKind::Fanout).await;
    world.rabbit.exchange(&world.queue("retry.100ms"), ExchangeKind::Topic).await;
    let config = |declare: &str| {
        let config = world.config(&[("broker", declare)]);
        config
            .replace(&format!("\"{}\"", world.calls), &format!("{calls:?}"))
            .replace(&format!("\"{}\"", world.events_exchange), &format!("{events:?}"))
    };
    let declares = check(&config(""), &[]).await;
    let looks = check(&config("declare = false"), &[]).await;
    assert_eq!((declares.code, looks.code), (1, 1));
    let topology = |part: String| -> String {
        let lines = part.lines().skip_while(|line| !line.contains("topology"));
        let lines = lines.take_while(|line| line.contains("topology") || line.contains("→"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let (declares, looks) = (topology(declares.part("broker")), topology(looks.part("broker")));
    assert_eq!(declares, looks);
    filters(&world).bind(|| assert_snapshot!(declares, @r"
    FAILED  topology            exchange callvault-c is of type direct, and must be of type topic: what is published to it reaches no queue that is bound by a pattern, and is lost
                                → delete it, and have it made anew (broker.declare = true, or `callvault topology`); or choose another name in [broker]
    FAILED  topology            exchange callvault-e is of type fanout, and must be of type topic: every queue that is bound gets all that is published to it
                                → delete it, and have it made anew (broker.declare = true, or `callvault topology`); or choose another name in [broker]
    FAILED  topology            exchange callvault.retry.100ms is of type topic, and must be of type fanout: what is to wait for a retry does not reach its queue
                                → delete it, and have it made anew (broker.declare = true, or `callvault topology`); or choose another name in [broker]
    "));
}

#[tokio::test]
async fn a_queue_of_another_kind_says_what_is_lost_by_it() {
    let world = World::new().await;
    world.ccfs.default_reply(Reply::not_found());
    let classic = || table([]);
    for queue in ["jobs", "dead"] {
        world.rabbit.declare(&world.queue(queue), classic()).await;
    }
    let bends = check(&world.config(&[]), &[]).await;
    assert_eq!(bends.code, 0, "{}", bends.text);
    let delays = r#"delays = ["100ms", "300ms"]"#;
    world.rabbit.declare(&world.queue("retry.300ms"), classic()).await;
    let loses = check(&world.config(&[("retry", delays)]), &[]).await;
    assert_eq!(loses.code, 1, "{}", loses.text);
    filters(&world).bind(|| {
        assert_snapshot!(bends.part("broker"), @r#"
        broker: callvault
          ok      login               127.0.0.1:PORT takes our user
          note    topology            queue callvault.dead exists with other arguments (x-queue-type is "classic", not "quorum"): its messages have one copy, on one node
                                      → it is used as it is; else delete it while it is empty, and have it made anew (broker.declare = true, or `callvault topology`)
          note    topology            queue callvault.jobs exists with other arguments (x-dead-letter-exchange is none, not "", x-dead-letter-routing-key is none, not "callvault.suspect", x-overflow is none, not "reject-publish", x-queue-type is "classic", not "quorum"): no suspects: a message that kills its worker comes again and again, or is dropped; no delivery limit; no at-least-once dead-lettering: what goes on from it can be lost on the way; its messages have one copy, on one node
                                      → it is used as it is; else delete it while it is empty, and have it made anew (broker.declare = true, or `callvault topology`)
          ok      may consume         queue callvault.jobs
          ok      may consume         queue callvault.bulk
          ok      may consume         queue callvault.suspect
          ok      may publish         exchange callvault-events
          ok      may publish         the default exchange
          ok      may publish         exchange callvault.retry.100ms
          ok      may publish         exchange callvault.retry.200ms
        "#);
        assert_snapshot!(loses.part("broker"), @r#"
        broker: callvault
          ok      login               127.0.0.1:PORT takes our user
          note    topology            queue callvault.dead exists with other arguments (x-queue-type is "classic", not "quorum"): its messages have one copy, on one node
                                      → it is used as it is; else delete it while it is empty, and have it made anew (broker.declare = true, or `callvault topology`)
          note    topology            queue callvault.jobs exists with other arguments (x-dead-letter-exchange is none, not "", x-dead-letter-routing-key is none, not "callvault.suspect", x-overflow is none, not "reject-publish", x-queue-type is "classic", not "quorum"): no suspects: a message that kills its worker comes again and again, or is dropped; no delivery limit; no at-least-once dead-lettering: what goes on from it can be lost on the way; its messages have one copy, on one node
                                      → it is used as it is; else delete it while it is empty, and have it made anew (broker.declare = true, or `callvault topology`)
          FAILED  topology            queue callvault.retry.300ms exists with other arguments (x-message-ttl is none, not "300", x-dead-letter-exchange is none, not "", x-overflow is none, not "reject-publish", x-queue-type is "classic", not "quorum"): what waits in it never comes back; what has waited in it is dropped; no at-least-once dead-lettering: what goes on from it can be lost on the way; its messages have one copy, on one node
                                      → delete it while it is empty, and have it made anew (broker.declare = true, or `callvault topology`); or choose another name in [broker]
          ok      may consume         queue callvault.jobs
          ok      may consume         queue callvault.bulk
          ok      may consume         queue callvault.suspect
          ok      may publish         exchange callvault-events
          ok      may publish         the default exchange
          ok      may publish         exchange callvault.retry.100ms
          ok      may publish         exchange callvault.retry.300ms
        "#);
    });
}
