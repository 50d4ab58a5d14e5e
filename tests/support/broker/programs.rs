//! Where the programs of a node are: on this machine, or in a root folder with another release.
//!
//! `CALLVAULT_TEST_RABBITMQ` names such a root (`.ci/debian-root` makes one). What has to be mounted
//! for its programs is mounted in a namespace of theirs: no other process sees it, and the kernel
//! undoes it with the last of them, however that ends. The folders are those of the machine, under
//! their own names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::debian;
use crate::support::kit_dir;

/// RabbitMQ's own; the wrappers in /usr/sbin switch user and folders.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin";

/// Before a program of another root can run. `/dev` may lack its devices there, and `/etc/hosts` the
/// name localhost.
const ENTER: &str = r#"
    set -e
    root=$1 kit=$2
    shift 2
    mkdir -p "$root$kit"
    [ -e "$root/etc/hosts" ] || : > "$root/etc/hosts"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind /etc/hosts "$root/etc/hosts"
    mount --bind "$kit" "$root$kit"
    exec chroot "$root" "$@"
"#;

/// The root that this process was told to take, if it was.
static ROOT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let named = std::env::var_os("CALLVAULT_TEST_RABBITMQ").filter(|root| !root.is_empty())?;
    let root = Path::new(&named).canonicalize();
    Some(root.unwrap_or_else(|error| {
        panic!("CALLVAULT_TEST_RABBITMQ={}: {error}", named.to_string_lossy())
    }))
});

/// One of RabbitMQ's programs.
pub(super) fn rabbitmq(name: &str) -> Command {
    of_the_node(Path::new(RABBITMQ).join(name))
}

/// Erlang's port mapper, of the same release.
pub(super) fn epmd() -> Command {
    of_the_node("epmd")
}

/// A shell that finds the node's own `rabbitmqadmin`.
pub(super) fn shell() -> Command {
    of_the_node("sh")
}

/// Whether `rabbitmqadmin` is the program that came with 4.3, and no script.
pub fn has_rabbitmqadmin_v2() -> bool {
    let root = ROOT.as_deref().unwrap_or(Path::new("/"));
    let program = std::fs::read(root.join("usr/bin/rabbitmqadmin"));
    !program.expect("RabbitMQ comes with it").starts_with(b"#!")
}

/// Whether the nodes are of RabbitMQ 4.
pub fn is_version_4() -> bool {
    has_rabbitmqadmin_v2()
}

fn of_the_node(program: impl AsRef<OsStr>) -> Command {
    let Some(root) = ROOT.as_deref() else { return Command::new(program) };
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ENTER, "sh"]).arg(root).arg(kit_dir()).arg(program);
    command
}

/// Whether they are there; else the first node to start installs Debian's package.
pub fn are_installed() -> bool {
    let root = ROOT.as_deref().unwrap_or(Path::new("/"));
    root.join(&RABBITMQ[1..]).join("rabbitmq-server").exists()
}

pub(super) fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if are_installed() {
            return;
        }
        if let Some(root) = ROOT.as_deref() {
            panic!("CALLVAULT_TEST_RABBITMQ: there is no rabbitmq-server in {}", root.display());
        }
        debian::install("rabbitmq-server", "rabbitmq-server.service epmd.service epmd.socket");
    });
}
