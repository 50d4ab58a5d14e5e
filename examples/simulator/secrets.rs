//! What is secret in the system: made up once, kept in files, and each part is given its own alone.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::world::TENANTS;

/// The file with where the broker is, and who comes.
pub const BROKER_URL: &str = "broker-url";

/// What the parts are called in `deploy/compose`.
const USER: &str = "callvault";
const BROKER: &str = "rabbitmq:5672";
const BUCKET: &str = "recordings";

/// The file with a tenant's SK.
pub fn of_tenant(tenant: &str) -> String {
    format!("{tenant}-secret-key")
}

/// What a file says, without the end of its line.
pub fn read(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Makes up what is not there yet. Whoever may see a folder may read what is in it: its containers run as
/// users of their own, and each sees none but its own.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let files = make_up()?;
    // They belong together; the one that says that all are there is written last.
    if folder.join(&files[0].0).try_exists()? {
        println!("there are secrets already");
        return Ok(());
    }
    for (path, text) in files.iter().rev() {
        let path = folder.join(path);
        write(&path, text).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
    }
    // Those that run as users of their own write here: the CA, and the numbers of the audit.
    for open in ["ca", "textfile"] {
        let folder = folder.join(open);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o1777))?;
    }
    println!("secrets are made up: {} files", files.len());
    Ok(())
}

/// Files and what they say.
fn make_up() -> io::Result<Vec<(PathBuf, String)>> {
    let [password, id, key] = [made_up()?, made_up()?[..20].to_uppercase(), made_up()?];
    let url = format!("amqp://{USER}:{password}@{BROKER}/%2f");
    let broker = format!("default_user = {USER}\ndefault_pass = {password}\nlog.console = true\n");
    let of_bucket = ["Read", "Write", "List", "Tagging"].map(|may| format!("{may}:{BUCKET}"));
    let identity = json!({ "name": USER, "actions": of_bucket,
                           "credentials": [{ "accessKey": id, "secretKey": key }] });
    let mut files: Vec<(PathBuf, String)> = vec![
        ("broker/compose.conf".into(), broker),
        ("store/s3.json".into(), json!({ "identities": [identity] }).to_string()),
        ("worker/store-access-key-id".into(), id),
        ("worker/store-secret-access-key".into(), key),
    ];
    let mut shared = |name: &str, secret: &str| {
        for part in ["worker", "ccfs"] {
            files.push((Path::new(part).join(name), secret.to_owned()));
        }
    };
    shared(BROKER_URL, &url);
    for tenant in TENANTS {
        shared(&of_tenant(tenant), &made_up()?);
    }
    Ok(files)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file in a folder"))?;
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

/// 24 bytes that nobody else has, in hex.
fn made_up() -> io::Result<String> {
    let mut bytes = [0; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}
