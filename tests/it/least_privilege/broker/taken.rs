//! Each right of each user taken away.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::act::Act::{self, Bind, Declare, Get, Publish};
use super::act::attempt;
use super::{SLOW, Site, broker_part, file, renamed};
use crate::cli::{Desk, Ended};
use crate::dead::Dead;
use crate::least_privilege::rights::{parts, pattern, shown};
use crate::least_privilege::rows;
use crate::support::world::call;

const BURIED: &str = "1777093663-8";

/// What shows that a right is missing.
enum Proof {
    /// A command, as the worker or the operator; of a message that died, from this queue.
    Check,
    Command(&'static str),
    Redrive(&'static str),
    Try(Act<'static>),
    /// It goes on without, in a lesser way.
    Works(&'static str),
}

fn proof(user: &str, right: &str, part: &str) -> Proof {
    match (user, right, part) {
        ("callvault", ..) => Proof::Check,
        ("callvault-producer", "write", "calls") => Proof::Try(Publish("calls")),
        ("callvault-listener", "configure", _) => Proof::Try(Declare("archive-events")),
        ("callvault-listener", "read", "archive-events") => Proof::Try(Get("archive-events")),
        ("callvault-listener", ..) => Proof::Try(Bind("archive-events", "recordings", "#")),
        (_, "configure", "callvault.dead.walk") => Proof::Works("dead list"),
        (_, "write", "calls") => Proof::Command("dump --tenant acme --call-id 1777093663-1"),
        (_, "write", "recordings") => Proof::Command("audit --tenant acme --day 2026-04-25"),
        (_, "configure", "callvault.retry.*") => Proof::Command("waiting now"),
        (_, "read", "callvault.retry.*") => Proof::Command("waiting list"),
        (_, "read", "callvault.dead") => Proof::Command("dead list"),
        (_, _, "callvault.bulk.redrive") => Proof::Redrive("bulk"),
        (_, _, "callvault.jobs.redrive" | "amq.default") => Proof::Redrive("jobs"),
        _ => panic!("{user} {right} {part}: what shows that it is needed?"),
    }
}

/// Somebody's site, and the desks at which commands are given.
struct Trial {
    site: Site,
    worker: Desk,
    operator: Desk,
}

impl Trial {
    async fn new() -> Self {
        let site = Site::new().await;
        site.make_topology().await;
        site.world.rabbit.declare("archive-events", FieldTable::default()).await;
        let (worker, operator) = (Desk::new(&site.config("", &[SLOW])), site.operator());
        Self { site, worker, operator }
    }

    /// Whether it works with the rights that there are. A command without one says which it was.
    async fn works(&self, role: &str, proof: &Proof) -> bool {
        match *proof {
            Proof::Check => {
                !broker_part(&self.worker.run("check --config callvault.toml")).contains("FAILED")
            }
            Proof::Try(act) => attempt(&self.site.client(role).await, act).await.is_none(),
            Proof::Works(line) => self.by_operator(line).code == 0,
            Proof::Redrive(queue) => {
                Dead { queue, ..Dead::new(BURIED) }.bury(&self.site.world).await;
                self.by_operator("dead redrive").code == 0
            }
            Proof::Command(line) => {
                Dead::new(BURIED).bury(&self.site.world).await;
                self.let_one_wait().await;
                let ended = self.by_operator(line);
                let told = format!("{}{}", ended.stdout, ended.stderr);
                let says = ["ACCESS_REFUSED", "grant the user of broker.url the write permission"];
                let says = says.iter().any(|said| told.contains(said));
                assert!(ended.code == 0 || says, "{role} {line}: {told}");
                ended.code == 0
            }
        }
    }

    fn by_operator(&self, line: &str) -> Ended {
        self.operator.run(&format!("{line} --config callvault.toml"))
    }

    async fn let_one_wait(&self) {
        let (body, own) = (call("1777093663-9").to_string(), BasicProperties::default());
        let rabbit = &self.site.world.rabbit;
        rabbit.publish("callvault.retry.1h", "callvault.jobs", body.as_bytes(), own).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_of_its_rights_a_user_cannot_do_its_work() {
    let trial = Trial::new().await;
    let site = &trial.site;
    let mut seen = BTreeSet::new();
    for permission in file("rabbitmq.json")["permissions"].as_array().expect("a list") {
        let user = permission["user"].as_str().expect("a name");
        let role = user.strip_prefix("callvault").expect("a name of ours");
        let own = renamed(json!({ "permissions": [permission] }), &site.name);
        let own = &own["permissions"][0];
        for (right, part, less) in each_taken_away(permission, own) {
            let proof = proof(user, right, &part);
            site.permit(&less).await;
            let without = trial.works(role, &proof).await;
            let needless = matches!(proof, Proof::Works(_));
            assert_eq!(without, needless, "{user} without {right} {part}");
            site.permit(own).await;
            assert!(trial.works(role, &proof).await, "{user} with {right} {part}");
            seen.insert([user.to_owned(), right.to_owned(), part]);
        }
    }
    assert_eq!(seen, rows(["user", "right", "to"]), "the page has a row for each right");
    trial.site.over().await;
}

/// Each right of a permission, what it is to, as the page has it, and `own` without it.
fn each_taken_away(permission: &Value, own: &Value) -> Vec<(&'static str, String, Value)> {
    let mut taken = Vec::new();
    for right in ["configure", "write", "read"] {
        let all = parts(permission[right].as_str().expect("a pattern"));
        for part in &all {
            let others: Vec<_> = all.iter().filter(|other| *other != part).cloned().collect();
            let mut less = own.clone();
            less[right] = pattern(&others).into();
            taken.push((right, shown(part), less));
        }
    }
    taken
}
