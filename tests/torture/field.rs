//! Everything that plays in one scenario: broker, CC-FS, store, the links between them and the
//! workers, and the ledger of what is asked for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as Guard, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use lapin::BasicProperties;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::acks::Watch;
use super::fleet::Fleet;
use super::ledger::{self, Call, Due, Ledger};
use super::{Ground, Scale};
use crate::support::broker::Node;
use crate::support::broker::client::{Rabbit, Seen};
use crate::support::broker::cluster::Cluster;
use crate::support::ccfs::Reply;
use crate::support::link::Link;
use crate::support::wire::Wire;
use crate::support::worker::Worker;
use crate::support::world::{SOON, TENANTS, World};
use crate::support::{eventually, unique};

/// Short delays, so that outages are over soon; attempts enough for any trouble: no recording that
/// can be had may die.
const BASE: [(&str, &str); 10] = [
    ("broker", "heartbeat = \"5s\""),
    ("worker", "concurrency = 16"),
    ("worker", "job_deadline = \"60s\""),
    ("store", "part_size = \"5MiB\""),
    ("store", "read_timeout = \"5s\""),
    ("retry", "delays = [\"100ms\", \"200ms\", \"500ms\"]"),
    ("retry", "max_attempts = 100"),
    ("retry", "breaker_failures = 5"),
    ("retry", "breaker_window = \"1s\""),
    ("log", "level = \"info\""),
];
/// However many workers die meanwhile, a scenario's messages are worked off within this time.
const SETTLED: Duration = Duration::from_mins(10);

/// The queues that are empty when all is quiet.
const QUEUES: [&str; 6] = ["jobs", "bulk", "suspect", "retry.100ms", "retry.200ms", "retry.500ms"];

pub struct Field {
    pub world: World,
    /// The broker's node, or the first of them.
    pub node: Arc<Node>,
    cluster: Option<Arc<Cluster>>,
    pub fleet: Fleet,
    /// What the workers' connections cross.
    pub links: Links,
    pub scale: Scale,
    /// All that workers and broker say to each other crosses it, behind the link.
    pub wire: Wire,
    pub watch: Watch,
    ledger: Arc<Guard<Ledger>>,
    /// The driver's own client; a new one after the broker was killed.
    rabbit: Mutex<Option<Rabbit>>,
    calls: AtomicU32,
    turn: AtomicU32,
}

pub struct Links {
    pub broker: Mutex<Link>,
    pub store: Mutex<Link>,
    pub ccfs: Mutex<Link>,
}

impl Field {
    pub async fn new(scenario: &str, ground: &Ground, scale: Scale) -> Self {
        let (cluster, nodes) = match ground {
            Ground::Node(node) => (None, std::slice::from_ref(node)),
            Ground::Cluster(cluster) => (Some(Arc::clone(cluster)), &cluster.nodes()[..]),
        };
        let node = &nodes[0];
        let world =
            if cluster.is_some() { World::among(node).await } else { World::on(node).await };
        world.store.keep_bodies(false);
        world.ccfs.remember(false);
        let ports: Vec<_> =
            nodes.iter().map(|node| ([127, 0, 0, 1], node.amqp_port()).into()).collect();
        let wire = Wire::to_each(&ports).await;
        let ledger = Arc::default();
        let watch = Watch::over(&wire, &world, &ledger);
        let links = Links {
            broker: Mutex::new(Link::to(wire.address()).await),
            store: Mutex::new(Link::to(world.store.s3().address()).await),
            ccfs: Mutex::new(Link::to(world.ccfs.address()).await),
        };
        let field = Self {
            world,
            node: Arc::clone(node),
            cluster,
            fleet: Fleet::new(scenario, String::new()),
            links,
            scale,
            wire,
            watch,
            ledger,
            rabbit: Mutex::default(),
            calls: AtomicU32::new(0),
            turn: AtomicU32::new(0),
        };
        field.configure(&[]).await;
        field
    }

    /// The configuration of the workers that are started from now on: [`BASE`], and `keys` over it
    /// (`("worker", "concurrency = 4")`).
    pub async fn configure(&self, keys: &[(&str, &str)]) {
        let url = |at| format!("amqp://guest:guest@{at}/%2f");
        let amqp = url(self.links.broker.lock().await.address());
        // Between the nodes there are links; before them there is none.
        let each: Vec<_> = self.wire.addresses().iter().map(|at| url(*at)).collect();
        let several = format!("urls = {each:?}");
        let several = self.cluster.is_some().then_some(("broker", several.as_str()));
        let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let given = |section: &str, line: &str| {
            keys.iter().any(|own| own.0 == section && name(own.1) == name(line))
        };
        let base = BASE.into_iter().filter(|(section, line)| !given(section, line));
        let ccfs = format!("http://{}", self.links.ccfs.lock().await.address());
        let store = format!("http://{}", self.links.store.lock().await.address());
        let all: Vec<_> = base.chain(keys.iter().copied()).chain(several).collect();
        self.fleet.configure(self.world.config_at(&amqp, &ccfs, &store, &all));
    }

    /// The nodes, in a trouble of a cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        self.cluster.as_ref().expect("this trouble is one of a cluster")
    }

    /// A client of a node that lets it in; of another one each time, where there are several.
    async fn try_client(&self) -> Option<Rabbit> {
        match &self.cluster {
            None => self.node.try_client().await,
            Some(cluster) => {
                let nodes = cluster.nodes();
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
                nodes[turn % nodes.len()].try_client().await
            }
        }
    }

    async fn client(&self) -> Rabbit {
        eventually("a node lets a client in", SOON, || self.try_client()).await
    }

    /// Workers in the first places, all ready.
    pub async fn start_workers(&self, count: usize) {
        for place in 0..count {
            self.fleet.start(place).await;
        }
        for place in 0..count {
            self.fleet.ready(place).await;
        }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic holds the lock")
    }

    /// A call id that no other call of this field has; how it ends tells the simulator what to
    /// answer ([`crate::support::ccfs::by_name`]), `w8k` say.
    pub fn call_id(&self, word: &str) -> String {
        format!("1777{:06}-{word}", self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// A call whose recording comes as `word` says, and is archived as `extension`.
    pub fn call(&self, tenant: &'static str, word: &str, extension: &'static str) -> Call {
        let id = self.call_id(word);
        let content = self.world.ccfs.expected(&id);
        Call::archived(tenant, id, content).extension(extension)
    }

    /// The bytes that are due.
    pub fn content(&self, call: &Call) -> Vec<u8> {
        self.world.ccfs.expected(&call.id).to_vec()
    }

    /// A recording that takes its time: something is in hand at any moment.
    pub fn slow_call(&self, tenant: &'static str, rng: &mut Rng) -> Call {
        let pause = Duration::from_millis(rng.u64(50..400));
        self.scripted(tenant, Reply::wav(16_000).pieces(4_000, pause))
    }

    /// A call that CC-FS answers with the WAV of this reply.
    pub fn scripted(&self, tenant: &'static str, reply: Reply) -> Call {
        let id = self.call_id("s");
        self.world.ccfs.script(&id, [reply]);
        let content = self.world.ccfs.expected(&id);
        Call::archived(tenant, id, content)
    }

    /// An afternoon's calls: most a small WAV, some of all that CC-FS can say.
    pub fn mixed(&self, rng: &mut Rng, count: usize) -> Vec<Call> {
        let call = |_| {
            let tenant = TENANTS[rng.usize(..TENANTS.len())];
            let small = rng.u32(400..32_000);
            match rng.u32(..100) {
                0 => self.call(tenant, &format!("w{}", rng.u32(5_300_000..9_000_000)), "wav"),
                1..=4 => self.call(tenant, &format!("z3x{small}"), "zip"),
                5..=6 => self.call(tenant, &format!("b{small}"), "bin"),
                7 => self.call(tenant, &format!("h500.w{small}"), "wav"),
                8 => self.call(tenant, &format!("cut.w{small}"), "wav"),
                9 => self.call(tenant, &format!("th.w{small}"), "wav"),
                10 => self.call(tenant, &format!("rst.w{small}"), "wav"),
                15..=24 => self.slow_call(tenant, rng),
                11..=12 => Call::absent(tenant, self.call_id("nf")),
                13..=14 => Call::dead(tenant, self.call_id("c0300004"), "ccfs.0300004"),
                _ => self.call(tenant, &format!("w{small}"), "wav"),
            }
        };
        (0..count).map(call).collect()
    }

    /// Asks for each, until the broker has confirmed it.
    pub async fn ask(&self, calls: &[Call]) {
        for call in calls {
            self.ask_times(call, 1).await;
        }
    }

    /// Asks for all in a dump a tenant.
    pub async fn ask_dump(&self, calls: &[Call]) {
        for tenant in TENANTS {
            let own: Vec<_> = calls.iter().filter(|call| call.tenant == tenant).collect();
            // A dump of one is done in place.
            if let [call] = own[..] {
                self.ask(std::slice::from_ref(call)).await;
            } else if !own.is_empty() {
                let request = unique("dump");
                self.ledger().expect_dump(&request, &own);
                let body = ledger::dump(&request, &own).to_string();
                self.publish("recording.dump-requested", body.as_bytes()).await;
                own.iter().for_each(|call| self.ledger().confirmed(&call.subject()));
            }
        }
    }

    /// Asks for each, and waits until no message waits for a worker.
    pub async fn work_off(&self, calls: &[Call]) {
        self.ask(calls).await;
        let none = async || (self.waiting().await == 0).then_some(());
        eventually("nothing waits for a worker", SETTLED, none).await;
    }

    /// Asks for the same recording several times over.
    pub async fn ask_times(&self, call: &Call, times: usize) {
        self.ledger().expect(call);
        let (body, subject) = (call.message().to_string(), call.subject());
        for _ in 0..times {
            self.publish("call.completed", body.as_bytes()).await;
            self.ledger().confirmed(&subject);
        }
    }

    /// Publishes as producers do, however long troubles last.
    async fn publish(&self, key: &str, body: &[u8]) {
        let deadline = Instant::now() + SETTLED;
        let mut rabbit = self.rabbit.lock().await;
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        loop {
            if rabbit.is_none() {
                *rabbit = self.try_client().await;
            }
            if let Some(client) = &*rabbit {
                let published =
                    client.try_publish(&self.world.calls, key, body, properties.clone());
                // A broker that was frozen or killed may never answer.
                if let Ok(Some(())) = tokio::time::timeout(SOON, published).await {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "the broker took no message for {SETTLED:?}");
            *rabbit = None;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Messages that wait in queues of callvault, but for the dead.
    pub async fn waiting(&self) -> u32 {
        let rabbit = self.client().await;
        let mut sum = 0;
        for queue in QUEUES {
            sum += rabbit.ready(&self.world.queue(queue)).await;
        }
        sum
    }

    /// All links fine, no fault scripted, at least one worker.
    pub async fn restore(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.restore().await;
        }
        self.links.broker.lock().await.restore().await;
        self.links.store.lock().await.restore().await;
        self.links.ccfs.lock().await.restore().await;
        self.world.store.heal();
        self.fleet.disarm().await;
        if self.fleet.is_empty().await {
            self.fleet.start(0).await;
        }
    }

    /// Waits until no message is on its way; what still is when `limit` has passed is a finding.
    pub async fn quiet(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let at_work = self.at_work().await;
            let waiting = self.waiting().await;
            // Unacknowledged ones and those between two queues show only here, and some seconds late:
            // what a worker took meanwhile is asked of it again.
            if at_work == 0.0
                && waiting == 0
                && self.left().await.is_empty()
                && self.at_work().await == 0.0
            {
                return;
            }
            if Instant::now() > deadline {
                let left = self.left().await;
                let what = format!("not quiet within {limit:?}: at work {at_work}, {left:?}");
                return self.fleet.find(what);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn at_work(&self) -> f64 {
        self.fleet.metric("callvault_jobs_in_flight", &[]).await
    }

    /// Queues of ours, but the dead one, that hold messages, ready or not.
    async fn left(&self) -> Vec<(String, u32)> {
        let (ours, dead) = (self.world.queue(""), self.world.queue("dead"));
        let mut queues = self.node.queues().await;
        queues.retain(|(name, depth)| *depth > 0 && name.starts_with(&ours) && *name != dead);
        queues
    }

    /// Stops all workers, and sweeps what killed ones have left open in the store.
    pub async fn settle_workers(&self) {
        self.hold_accounts().await;
        self.fleet.stop_all().await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.world.store.open_uploads() > 0 {
            if Instant::now() > deadline {
                let open = self.world.store.open_uploads();
                return self.fleet.find(format!("{open} multipart uploads stay open"));
            }
            // Sweeps at start what is older than twice its deadline.
            self.configure(&[("worker", "job_deadline = \"1s\"")]).await;
            self.fleet.start(0).await;
            self.fleet.ready(0).await;
            self.fleet.stop(0).await;
        }
    }

    /// Promise 9, over all workers that live: received = settled, since nothing is in flight.
    async fn hold_accounts(&self) {
        let received = self.fleet.metric("callvault_messages_received_total", &[]).await;
        let settled = self.fleet.metric("callvault_messages_settled_total", &[]).await;
        if received != settled {
            self.fleet.find(format!("the accounts: received {received}, settled {settled}"));
        }
    }

    /// Takes all that is in a queue.
    pub async fn drain(&self, queue: &str) -> Vec<Seen> {
        let rabbit = self.client().await;
        let count = rabbit.ready(queue).await;
        rabbit.take_many(queue, count as usize).await
    }
}
