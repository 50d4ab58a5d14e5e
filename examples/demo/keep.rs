//! `KEEP=1`: the system stays up, and a person plays with it.

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::parts::{BUCKET, CALLS, DELAYS, EVENTS_EXCHANGE, PREFIX, Parts, shown};
use crate::screen::{Screen, Tone};
use crate::support::s3::{ACCESS_KEY, REGION, SECRET_KEY};
use crate::support::worker::binary;
use crate::{traffic, watch};

/// Whether the environment says so.
pub fn wanted() -> bool {
    std::env::var("KEEP").is_ok_and(|keep| !matches!(keep.as_str(), "" | "0" | "no" | "false"))
}

/// Where everything is, and how to ask for a recording.
pub fn explain(screen: &Screen, parts: &Parts) {
    let management = parts.node.management_url();
    let worker = format!("http://127.0.0.1:{}", parts.worker.port());
    let endpoint = parts.s3().endpoint();
    screen.heading("It stays up until Ctrl-C");
    let retries = DELAYS.map(|delay| format!(".retry.{delay}")).join(", ");
    for (name, said) in [
        ("page", format!("{worker}/")),
        ("metrics", format!("{worker}/metrics")),
        ("RabbitMQ", format!("{management}/   user guest, password guest")),
        ("", parts.node.url()),
        ("queues", format!("{PREFIX}.jobs, .bulk, .suspect, {retries}, .dead")),
        ("exchanges", format!("{CALLS} (requests), {EVENTS_EXCHANGE} (events)")),
        ("S3", format!("{endpoint}   bucket {BUCKET}, region {REGION}, path style")),
        ("", format!("access key {ACCESS_KEY}, secret key {SECRET_KEY}")),
        ("CC-FS", parts.ccfs.url()),
    ] {
        println!("  {name:<14}{said}");
    }
    println!("\n  Ask for a recording of your own:\n");
    println!("{}", screen.paint(Tone::Bold, publish_command(&management)));
    let config = shown(&parts.folder.join("callvault.toml"));
    let callvault = shown(&binary());
    println!("\n  What to look at next:\n");
    for (command, said) in [
        (format!("{callvault} dead list --config {config}"), "what failed for good, and why"),
        (format!("{callvault} check --config {config}"), "whether each part works"),
        (
            format!("{callvault} status --watch --url {worker}"),
            "what the page shows, in a terminal",
        ),
    ] {
        println!("  # {said}\n{}", screen.paint(Tone::Bold, command));
    }
    println!(
        "\n  How a call id ends tells CC-FS what to answer: -w64k a WAV, -nf.nf.w64k one that is \
         twice\n  not there yet, -z3x8k a ZIP, -cut a torn body, -c0300004 a result code.\n\n  Calls go \
         on at both tenants, with trouble at globex, and a dump goes through: look at the page.\n  \
         Events of what you ask for, as they come:\n"
    );
}

/// Through RabbitMQ's own HTTP interface, so that nothing has to be installed.
fn publish_command(management: &str) -> String {
    // The date of the call is in its id, and so that of the key.
    let call =
        r#"{\"type\":\"call.completed\",\"tenant\":\"acme\",\"callId\":\"'$(date +%s)'-w64k\"}"#;
    format!(
        "curl -s -u guest:guest {management}/api/exchanges/%2f/{CALLS}/publish -d '{{\n\
         \x20 \"routing_key\": \"call.completed\", \"properties\": {{ \"delivery_mode\": 2 }},\n\
         \x20 \"payload_encoding\": \"string\",\n\
         \x20 \"payload\": \"{call}\" }}'"
    )
}

/// Shows the events of what a person has asked for until something else ends this.
pub async fn follow(screen: &Screen, events: &mut UnboundedReceiver<String>) {
    loop {
        let event = watch::next_event(events).await;
        if !goes_on_by_itself(&event.json) {
            println!("  {}", line(screen, &event.json));
        }
    }
}

fn goes_on_by_itself(event: &Value) -> bool {
    event["data"]["callId"].as_str().is_some_and(|id| id.contains(traffic::OWN))
}

fn line(screen: &Screen, event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = &event["data"];
    let (tone, said) = match event["type"].as_str() {
        Some("recording.archived") => (Tone::Good, text(&data["objects"][0]["key"])),
        Some("dump.expanded") => (Tone::Good, format!("{} recordings", data["count"])),
        _ => (Tone::Bad, text(&data["reason"]["code"])),
    };
    let kind = screen.paint(tone, format!("{:<20}", text(&event["type"])));
    format!("{kind} {:<30} {said}", text(&event["subject"]))
}
