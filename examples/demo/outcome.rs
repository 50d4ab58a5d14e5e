//! What came of the afternoon, held against what was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::parts::{BUCKET, PREFIX, Parts};
use crate::script::{Afternoon, Asked, End, TENANTS};
use crate::support::ccfs::Simulator;
use crate::watch::{Event, Seen, number};

/// An object as it lies in the bucket, read back.
pub struct Stored {
    pub key: String,
    pub size: u64,
    pub sha256: String,
    /// As its event said.
    pub duration: Option<Duration>,
    pub tenant: String,
    pub note: &'static str,
}

/// A message of the dead queue.
pub struct DeadLetter {
    pub tenant: String,
    pub name: Option<String>,
    pub reason: String,
    pub detail: String,
    pub attempts: String,
    pub body: String,
}

/// The ends of one tenant's recordings.
#[derive(Default)]
pub struct Sum {
    pub asked: usize,
    pub archived: usize,
    pub absent: usize,
    pub dead: usize,
    pub retried: u64,
}

/// Everything that is there at the end.
pub struct Outcome {
    pub seen: Seen,
    pub objects: Vec<Stored>,
    pub dead: Vec<DeadLetter>,
    pub sums: BTreeMap<&'static str, Sum>,
    /// What is not as it was asked for; empty when all is well.
    pub mistakes: Vec<String>,
}

impl Outcome {
    pub async fn gather(parts: &Parts, afternoon: &Afternoon, seen: Seen) -> Self {
        let mut all = Self {
            objects: objects(parts, afternoon, &seen.events).await,
            dead: dead_letters(parts).await,
            sums: TENANTS.map(|tenant| (tenant, Sum::default())).into(),
            mistakes: Vec::new(),
            seen,
        };
        for asked in &afternoon.asked {
            if let Err(mistake) = all.settle(asked, &parts.ccfs) {
                let name = asked.name.as_deref().unwrap_or("the message without a call");
                all.mistakes.push(format!("{} {name}: {mistake}", asked.tenant));
            }
        }
        all.count_retries();
        all.check_whole(afternoon.events);
        all
    }

    /// Finds the end of one that was asked for, and counts it.
    fn settle(&mut self, asked: &Asked, ccfs: &Simulator) -> Result<(), String> {
        let sum = self.sums.get_mut(asked.tenant).expect("a tenant of the script");
        sum.asked += 1;
        let events = self.seen.events.iter().map(|event| &event.json);
        let ends: Vec<&Value> = events.filter(|event| tells(event, asked)).collect();
        let ids: BTreeSet<&str> = ends.iter().filter_map(|event| event["id"].as_str()).collect();
        let event = match (ends.first(), ids.len()) {
            (Some(event), 1) => *event,
            (None, _) => return Err("no event tells how it ended".into()),
            (_, count) => return Err(format!("{count} different events tell how it ended")),
        };
        let (wanted, reason) = match asked.end {
            End::Archived => ("recording.archived", None),
            End::Absent => ("recording.absent", None),
            End::Dead(reason) => ("recording.failed", Some(reason)),
        };
        if event["type"] != wanted {
            return Err(format!("{wanted} was due, {} came: {}", event["type"], event["data"]));
        }
        match asked.end {
            End::Archived => {
                self.same_bytes(asked, event, ccfs)?;
                self.sums.get_mut(asked.tenant).expect("just there").archived += 1;
            }
            End::Absent => sum.absent += 1,
            End::Dead(_) => {
                let letter = |letter: &&DeadLetter| {
                    letter.tenant == asked.tenant && letter.name == asked.name
                };
                let letters: Vec<_> = self.dead.iter().filter(letter).collect();
                if letters.len() != 1 || Some(letters[0].reason.as_str()) != reason {
                    return Err(format!("one dead letter with {reason:?} was due"));
                }
                sum.dead += 1;
            }
        }
        Ok(())
    }

    /// What lies in the bucket is, byte for byte, what CC-FS has sent.
    fn same_bytes(&self, asked: &Asked, event: &Value, ccfs: &Simulator) -> Result<(), String> {
        let key = &event["data"]["objects"][0]["key"];
        let stored = self.objects.iter().find(|object| *key == *object.key);
        let stored = stored.ok_or_else(|| format!("{key} is not in the bucket"))?;
        let sent = ccfs.expected(asked.name.as_deref().unwrap_or_default());
        if (stored.size, &stored.sha256) != (sent.length(), &sent.sha256()) {
            return Err(format!("{key} is not what CC-FS has sent"));
        }
        Ok(())
    }

    fn count_retries(&mut self) {
        for row in self.seen.status["tenants"].as_array().into_iter().flatten() {
            if let Some(sum) = row["id"].as_str().and_then(|id| self.sums.get_mut(id)) {
                sum.retried = number(&row["retried"]);
            }
        }
    }

    /// Nothing more than was asked for, and a ledger that balances.
    fn check_whole(&mut self, events: usize) {
        let archived: usize = self.sums.values().map(|sum| sum.archived).sum();
        let dead: usize = self.sums.values().map(|sum| sum.dead).sum();
        let mut check = |what: &str, is: usize, due: usize| {
            if is != due {
                self.mistakes.push(format!("{what}: {is}, and {due} are due"));
            }
        };
        check("events", self.seen.events.len(), events);
        check("objects in the bucket", self.objects.len(), archived);
        check("messages in the dead queue", self.dead.len(), dead);
        let [received, acknowledged, given_back, in_flight] = ledger(&self.seen.status);
        if received != acknowledged + given_back + in_flight || in_flight != 0 {
            self.mistakes.push(format!(
                "messages: {received} received, {acknowledged} acknowledged, {given_back} given \
                 back, {in_flight} in flight"
            ));
        }
    }

    /// The events by type.
    pub fn events_by_type(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for event in &self.seen.events {
            *counts.entry(event.json["type"].as_str().unwrap_or("?")).or_default() += 1;
        }
        counts
    }

    /// Writes down what the screen has no room for.
    pub fn save(&self, folder: &Path) {
        let events = self.seen.events.iter().map(|event| format!("{}\n", event.text)).collect();
        let dead = self.dead.iter().map(|letter| {
            let letter = json!({ "reason": letter.reason, "detail": letter.detail,
                                 "attempts": letter.attempts, "body": letter.body });
            format!("{letter}\n")
        });
        let objects = self.objects.iter().map(Stored::line).collect();
        let files: [(&str, String); 3] =
            [("events.jsonl", events), ("dead.jsonl", dead.collect()), ("bucket.txt", objects)];
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("target/demo can be written");
        }
    }
}

impl Stored {
    fn line(&self) -> String {
        let seconds = self.duration.map_or(String::from("-"), |d| d.as_secs_f64().to_string());
        format!("{}\t{}\t{}\t{seconds}\n", self.key, self.size, self.sha256)
    }
}

/// received, acknowledged, given back, in flight.
pub fn ledger(status: &Value) -> [u64; 4] {
    let of = |name: &str| number(&status["messages"][name]);
    [of("received"), of("acknowledged"), of("givenBack"), of("inFlight")]
}

/// Whether `event` says how `asked` ended.
fn tells(event: &Value, asked: &Asked) -> bool {
    let data = &event["data"];
    data["tenant"] == asked.tenant
        && event["type"] != "dump.expanded"
        && name_in(data).as_deref() == asked.name.as_deref()
}

fn name_in(data: &Value) -> Option<String> {
    let name = data["callId"].as_str().or(data["fileName"].as_str());
    name.map(str::to_owned)
}

/// Reads every object back, and hashes what was read.
async fn objects(parts: &Parts, afternoon: &Afternoon, events: &[Event]) -> Vec<Stored> {
    let mut all = Vec::new();
    for key in parts.s3().keys(BUCKET, "").await {
        let object = parts.s3().object(BUCKET, &key).await.expect("it was just listed");
        let event = events.iter().find(|event| event.json["data"]["objects"][0]["key"] == *key);
        let data = event.map_or(&Value::Null, |event| &event.json["data"]);
        let duration = data["objects"][0]["audio"]["durationMs"].as_u64();
        let asked = afternoon.asked.iter().find(|asked| {
            asked.name.is_some() && asked.name == name_in(data) && data["tenant"] == asked.tenant
        });
        all.push(Stored {
            tenant: key.split('/').next().unwrap_or_default().to_owned(),
            size: object.body.len() as u64,
            sha256: hex::encode(Sha256::digest(&object.body)),
            duration: duration.map(Duration::from_millis),
            note: asked.map_or("", |asked| asked.note),
            key,
        });
    }
    all
}

/// What is in the dead queue; it stays there.
async fn dead_letters(parts: &Parts) -> Vec<DeadLetter> {
    let channel = parts.rabbit.new_channel().await;
    let mut letters = Vec::new();
    let queue = format!("{PREFIX}.dead");
    // Taken without an acknowledgement: they go back when the channel closes.
    while let Some(message) = channel
        .basic_get(queue.as_str().into(), BasicGetOptions::default())
        .await
        .expect("the dead queue is there")
    {
        let seen = crate::support::broker::client::Seen {
            body: message.delivery.data,
            exchange: message.delivery.exchange.to_string(),
            routing_key: message.delivery.routing_key.to_string(),
            properties: message.delivery.properties,
        };
        let header = |name: &str| seen.header(name).unwrap_or_default();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        letters.push(DeadLetter {
            tenant: body["tenant"].as_str().unwrap_or("unknown").to_owned(),
            name: name_in(&body),
            reason: header("callvault-reason"),
            detail: header("callvault-detail"),
            attempts: header("callvault-attempts"),
            body: String::from_utf8_lossy(&seen.body).into_owned(),
        });
    }
    channel.close(200, "read".into()).await.expect("our own channel closes");
    letters
}
