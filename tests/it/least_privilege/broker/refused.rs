//! What each user is refused.

use lapin::types::FieldTable;

use super::act::Act::{
    self, Bind, Consume, Declare, DeleteExchange, DeleteQueue, Get, Publish, Purge,
};
use super::act::attempt;
use super::{ADMIN, PASSWORD, Site, file, import, renamed};
use crate::support::broker::node;

/// What each user must not do, though another may.
const FORBIDDEN: [(&str, &[Act<'_>]); 5] = [
    (
        "",
        &[
            Publish("calls"),
            Get("callvault.dead"),
            Purge("callvault.dead"),
            Get("archive-events"),
            Purge("archive-events"),
            DeleteQueue("archive-events"),
            Declare("of-others"),
            Bind("archive-events", "recordings", "#"),
            Bind("callvault.jobs", "recordings", "#"),
            DeleteExchange("of-others"),
        ],
    ),
    (
        "-producer",
        &[
            Consume("callvault.jobs"),
            Get("callvault.jobs"),
            Get("callvault.dead"),
            Get("archive-events"),
            Publish("recordings"),
            Publish("callvault.retry.1h"),
            Publish(""),
            Declare("of-others"),
            Bind("callvault.jobs", "calls", "#"),
            Purge("callvault.jobs"),
            DeleteQueue("callvault.jobs"),
            DeleteExchange("calls"),
        ],
    ),
    (
        "-listener",
        &[
            Publish("calls"),
            Publish("recordings"),
            Publish(""),
            Get("callvault.jobs"),
            Get("callvault.dead"),
            Bind("archive-events", "calls", "#"),
            Bind("callvault.jobs", "recordings", "#"),
            Declare("of-others"),
            DeleteQueue("callvault.dead"),
            DeleteExchange("recordings"),
        ],
    ),
    (
        "-operator",
        &[
            Consume("callvault.jobs"),
            Get("callvault.bulk"),
            Purge("callvault.jobs"),
            DeleteQueue("callvault.jobs"),
            DeleteQueue("callvault.dead"),
            Publish("callvault.retry.1h"),
            Get("archive-events"),
            Declare("of-others"),
            DeleteExchange("calls"),
        ],
    ),
    (
        "-monitor",
        &[
            Publish("calls"),
            Publish(""),
            Get("callvault.jobs"),
            Get("callvault.dead"),
            Get("archive-events"),
            Declare("of-others"),
            DeleteQueue("callvault.jobs"),
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_user_is_refused_what_is_not_its_own() {
    let site = Site::new().await;
    site.make_topology().await;
    let admin = &site.world.rabbit;
    for queue in ["archive-events", "of-others"] {
        admin.declare(queue, FieldTable::default()).await;
    }
    admin.topic("of-others").await;
    for (role, acts) in FORBIDDEN {
        let client = site.client(role).await;
        for &act in acts {
            assert!(attempt(&client, act).await.is_some(), "callvault{role} may {act:?}");
        }
    }
    // A worker that declares nothing cannot take down its own either.
    import(&renamed(file("rabbitmq-declare-false.json"), &site.name)).await;
    let worker = site.client("").await;
    for act in [
        Declare("callvault.retry.5s"),
        Bind("callvault.jobs", "calls", "#"),
        DeleteQueue("callvault.jobs"),
        DeleteExchange("recordings"),
        Publish("calls"),
        Get("callvault.dead"),
    ] {
        assert!(attempt(&worker, act).await.is_some(), "{act:?}");
    }

    // Who only looks sees queues, and changes none.
    let (node, queues) = (node().await, format!("/api/queues/{}", site.name));
    let monitor = format!("{}-monitor:{PASSWORD}", site.name);
    let as_monitor = async |method: &str, path: &str| {
        node.manage(&monitor, method, path, "{}").await.expect("the management plugin answers")
    };
    let (status, list) = as_monitor("GET", &queues).await;
    assert!(status == 200 && list.contains("callvault.dead"), "{status} {list}");
    for (method, path) in [
        ("PUT", format!("{queues}/of-monitor")),
        ("DELETE", format!("{queues}/callvault.dead")),
        ("DELETE", format!("{queues}/callvault.dead/contents")),
        ("PUT", format!("/api/policies/{}/of-monitor", site.name)),
        ("PUT", "/api/users/of-monitor".to_owned()),
    ] {
        let (status, said) = as_monitor(method, &path).await;
        assert!([401, 403].contains(&status), "{method} {path}: {status} {said}");
    }
    assert!(site.world.rabbit.exists("callvault.dead").await);

    // All of it to the length of the queue.
    let path = format!("/api/policies/{}", site.name);
    let (_, policies) = node.manage(ADMIN, "GET", &path, "").await.expect("it answers");
    assert!(policies.contains("\"max-length\":5000000"), "{policies}");
    site.over().await;
}
