//! What archiving takes: how many workers, and how long calls wait, from what is known of the calls
//! and of CC-FS (docs/SCALING.md).
//!
//!     cargo run --example scaling -- --calls-per-day 1000000 --size 2MiB --first-byte 300ms

mod model;

use std::process::ExitCode;
use std::time::Duration;

use callvault::config::{parse_duration, parse_size};
use clap::Parser;

use model::{Recording, arrivals, day, throughput};

/// Of what a fleet could archive, so much is planned with: calls come in bursts, and a worker that
/// drains or is lost is not to be felt.
const PLANNED: f64 = 0.7;

/// Messages over the broker for a recording: the call in, the delivery, the event.
const MESSAGES: f64 = 3.0;

/// PUT a second that AWS S3 takes below one prefix.
const PUTS_OF_A_PREFIX: f64 = 3500.0;

/// What archiving takes, from what is known of the calls, of CC-FS and of the machine
#[derive(Parser)]
#[command(name = "scaling")]
struct Asked {
    /// Calls of a day
    #[arg(long, default_value_t = 100_000.0)]
    calls_per_day: f64,
    /// The share of a day's calls that its busiest hour has, 0.042 to 0.3
    #[arg(long, default_value_t = 0.12)]
    busiest_hour: f64,
    /// Bytes of a recording
    #[arg(long, default_value = "2MiB", value_parser = size)]
    size: f64,
    /// From a request to the first byte of CC-FS
    #[arg(long, default_value = "200ms", value_parser = seconds)]
    first_byte: f64,
    /// Bytes a second of one download
    #[arg(long, default_value = "10MiB", value_parser = size)]
    bandwidth: f64,
    /// From the end of an upload to the store's answer
    #[arg(long, default_value = "30ms", value_parser = seconds)]
    store: f64,
    /// Milliseconds of a core that a recording takes: `make bench` measures it
    #[arg(long, default_value_t = 1.0)]
    cpu: f64,
    /// The same for each of its MiB
    #[arg(long, default_value_t = 2.0)]
    cpu_per_mib: f64,
    /// Cores of a worker's machine
    #[arg(long, default_value_t = 2.0)]
    cores: f64,
    /// `worker.concurrency`
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Requests at once that CC-FS takes of all workers together; 0: as many as come
    #[arg(long, default_value_t = 0)]
    at_once: usize,
    /// Workers; 0: as many as it takes
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

fn size(text: &str) -> Result<f64, String> {
    parse_size(text).map(|bytes| bytes as f64).ok_or_else(|| "write it as 8MiB".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let duration = parse_duration(text).as_ref().map(Duration::as_secs_f64);
    duration.ok_or_else(|| "write it as 200ms".to_owned())
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let mebibytes = asked.size / f64::from(1 << 20);
    let recording = Recording {
        waits: asked.first_byte + asked.size / asked.bandwidth + asked.store,
        cpu: (asked.cpu + mebibytes * asked.cpu_per_mib) / 1e3,
    };
    let one = throughput(asked.concurrency, recording, asked.cores);
    let busiest = asked.calls_per_day * asked.busiest_hour / 3600.0;
    let source = match asked.at_once {
        0 => f64::INFINITY,
        places => throughput(places, recording, f64::INFINITY),
    };
    let workers = match asked.workers {
        0 => (busiest / (one * PLANNED)).ceil().max(1.0),
        workers => workers as f64,
    };
    let rate = (one * workers).min(source);
    let seen = day(arrivals(asked.calls_per_day, asked.busiest_hour), rate);
    let ideal = asked.concurrency as f64 / (recording.waits + recording.cpu);

    println!("one worker       {one:.1} recordings/s, {:.1} MiB/s", one * mebibytes);
    println!("  bound by       {}", if one < 0.9 * ideal { "its cores" } else { "its places" });
    println!("busiest hour     {busiest:.1} calls/s");
    println!("workers          {workers:.0}, which archive {rate:.1} recordings/s");
    if source < one * workers {
        println!("  bound by       CC-FS, which takes {} at once", asked.at_once);
    }
    println!("backlog          {:.0} messages at most", seen.backlog);
    println!("lag              {:.0} s at most, and {:.2} s of work", seen.lag, recording.waits);
    println!("broker           {:.0} messages/s", busiest.min(rate) * MESSAGES);
    println!(
        "store            {:.1} PUT/s of {PUTS_OF_A_PREFIX} below a prefix",
        busiest.min(rate)
    );
    if seen.left < 1.0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("too little: {:.0} messages are left at the end of the day", seen.left);
    ExitCode::FAILURE
}
