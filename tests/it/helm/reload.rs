//! The container beside the worker: it tells it when the kubelet has put other files in place.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{manifest, render};
use crate::support::child::GuardedChild;
use crate::support::eventually;
use crate::support::worker::Worker;
use crate::support::world::{SOON, World, access_key, secret_key};

/// Puts files in place as the kubelet does: a folder of its own, and the link `..data` turned to it.
fn put(mount: &Path, generation: &str, files: &[(&str, &str)]) {
    let folder = mount.join(generation);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
        let visible = mount.join(name);
        if visible.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), visible).unwrap();
        }
    }
    let turned = mount.join("..data_tmp");
    symlink(generation, &turned).unwrap();
    std::fs::rename(turned, mount.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_takes_what_the_kubelet_puts_in_place_without_a_restart() {
    let world = World::new().await;
    let mounts = tempfile::tempdir().unwrap();
    let tenants = mounts.path().join("tenants");
    put(&mounts.path().join("secrets"), "..1", &[]);
    put(&tenants, "..1", &[]);
    let config = format!("tenants_dir = \"{}\"\n{}", tenants.display(), world.config(&[]));
    let worker = Worker::start(&config).ready().await;
    let before = worker.metric("callvault_tenants", &[]).await;

    let manifests = render(&json!({ "reload": { "enabled": true } })).manifests;
    let pod = &manifest(&manifests, "Deployment", "callvault")["spec"]["template"]["spec"];
    let container = &pod["containers"][1];
    assert_eq!(container["command"], json!(["sh", "-c"]));
    let script = container["args"][0].as_str().expect("a script");
    // A pod has no other process of that name, and this machine may have many.
    let here = script
        .replace("/etc/callvault", &mounts.path().display().to_string())
        .replace("/proc/[0-9]*", &format!("/proc/{}", worker.pid()))
        .replace("sleep 5", "sleep 0.1");
    assert!(here.contains(&format!("in /proc/{};", worker.pid())), "{here}");
    let mut sh = Command::new("sh");
    let _sidecar = GuardedChild::spawn(sh.args(["-c", &here]).stdin(Stdio::null())).unwrap();

    let (access, secret) = (access_key("initech"), secret_key("initech"));
    let initech =
        format!("id = \"initech\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n");
    let mut generation = 1;
    // Again and again: it may not have looked at what was there before.
    eventually("the worker has the tenant", SOON, || {
        generation += 1;
        put(&tenants, &format!("..{generation}"), &[("initech.toml", &initech)]);
        let worker = &worker;
        async move {
            let now = worker.metric("callvault_tenants", &[]).await;
            (now == before + 1.0).then_some(())
        }
    })
    .await;
}
