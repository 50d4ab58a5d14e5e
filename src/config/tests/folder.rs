//! `tenants_dir`: each file of a folder is a tenant.

use std::path::Path;

use insta::assert_snapshot;

use super::{LEAST, load, row, value_of};
use crate::config::{Loaded, Mistakes};

/// A tenant's file, without its id.
const KEYS: &str = "access_key = \"AK\"\nsecret_key = \"SK-hunter2\"\n";

/// What stands before the sections, and what all tenants share.
const SHARED: &str = "[ccfs]\nendpoints = [\"https://ccfs.example.com:28443\"]\n\
                      [store]\nbucket = \"recordings\"\n";

/// Loads `text`, with `FOLDER` as the folder.
fn with(folder: &Path, text: &str) -> Result<Loaded, Mistakes> {
    load(&text.replace("FOLDER", &folder.display().to_string()), &[])
}

fn shared(folder: &Path) -> Result<Loaded, Mistakes> {
    with(folder, &format!("tenants_dir = \"FOLDER\"\n{SHARED}"))
}

fn told(folder: &Path, loaded: Result<Loaded, Mistakes>) -> String {
    let told = loaded.map(|_| "no mistake").unwrap_err().to_string();
    assert!(!told.contains("hunter2"), "{told}");
    told.replace(&folder.display().to_string(), "FOLDER")
}

fn ids(loaded: &Loaded) -> Vec<&str> {
    loaded.config.tenants.iter().map(|tenant| tenant.id.as_str()).collect()
}

#[test]
fn each_file_is_a_tenant_in_the_order_of_names_after_those_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("b.toml", &format!("id = \"beta\"\npaused = true\n{KEYS}[store]\nbucket = \"b\"\n"));
    put("a.toml", &format!("\u{feff}id = \"alpha\"\r\n{KEYS}[ccfs]\nhost = \"a.example\"\n"));
    // A mounted ConfigMap: the names are links into a folder that is one, too.
    std::fs::create_dir(dir.path().join("..2026_11_28")).unwrap();
    put("..2026_11_28/c.toml", &format!("id = \"gamma\"\n{KEYS}"));
    std::os::unix::fs::symlink("..2026_11_28", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/c.toml", dir.path().join("c.toml")).unwrap();
    // What is no tenant.
    put(".#a.toml", "oops");
    put(".toml", "oops");
    put("a.toml~", "oops");
    put("README", "oops");
    std::fs::create_dir(dir.path().join("old")).unwrap();
    put("old/d.toml", "oops");

    let loaded = with(dir.path(), &format!("tenants_dir = \"FOLDER\"\n{LEAST}")).unwrap();
    assert_eq!(ids(&loaded), ["acme", "alpha", "beta", "gamma"]);
    assert_eq!(loaded.warnings, [""; 0]);
    let [acme, alpha, beta, _] = &loaded.config.tenants[..] else { panic!("four") };
    assert_eq!([acme.paused, alpha.paused, beta.paused], [false, false, true]);
    assert_eq!(alpha.ccfs.host.as_deref(), Some("a.example"));
    assert_eq!((acme.store.bucket.as_str(), beta.store.bucket.as_str()), ("recordings", "b"));
    assert_eq!(value_of(&alpha.secret_key), "SK-hunter2");
    let (value, source) = row(&loaded, "[tenants.store]", "bucket");
    let file = dir.path().join("b.toml");
    assert_eq!((value.as_str(), source), ("\"b\"", format!("{}:6", file.display())));
}

#[test]
fn the_environment_names_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), format!("id = \"alpha\"\n{KEYS}")).unwrap();
    let folder = dir.path().display().to_string();
    let loaded = load(SHARED, &[("CALLVAULT__TENANTS_DIR", &folder)]).unwrap();
    assert_eq!(ids(&loaded), ["alpha"]);
    assert_eq!(loaded.config.tenants_dir.as_deref(), Some(dir.path()));
    assert_eq!(row(&loaded, "", "tenants_dir").1, "CALLVAULT__TENANTS_DIR");
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("again.toml", &format!("{KEYS}id = \"acme\"\n"));
    put("empty.toml", "");
    put("gone.toml", &format!("id = \"gone\"\nzone = \"UTC\"\n{KEYS}[store]\nbukcet = \"b\"\n"));
    put("nested.toml", &format!("[[tenants]]\nid = \"nested\"\n{KEYS}"));
    put(
        "secret.toml",
        "id = \"late\"\naccess_key = \"AK\"\nsecret_key_file = \"/nonexistent/sk\"\n",
    );
    put("syntax.toml", "id = \"x\"\nsecret_key = hunter2\n");
    std::fs::create_dir(dir.path().join("dir.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("link.toml")).unwrap();
    std::fs::write(dir.path().join("latin.toml"), b"id = \"caf\xe9\"\n").unwrap();
    let text = format!("tenants_dir = \"FOLDER\"\n{LEAST}[worker]\nconcurrency = 0\n");
    assert_snapshot!(told(dir.path(), with(dir.path(), &text)), @r#"
    the configuration has 13 mistakes:
      FOLDER/again.toml:3: tenants[acme].id: is the id of an earlier tenant (callvault.toml:8); give each its own
      FOLDER/dir.toml:1: cannot be read: is a directory; let callvault read it, or take it out of tenants_dir
      FOLDER/empty.toml:1: tenants[empty.toml].id: is required, and missing; set it
      FOLDER/empty.toml:1: tenants[empty.toml].access_key: is required, and missing; set it
      FOLDER/empty.toml:1: tenants[empty.toml].secret_key: is required, and missing; set it
      FOLDER/gone.toml:2: tenants[gone].zone: is not known; tenants[gone] has access_key, cc_id, ccfs, id, max_concurrency, paused, secret_key, secret_key_env, secret_key_file, store, time_zone
      FOLDER/gone.toml:6: tenants[gone].store.bukcet: is not known; did you mean tenants[gone].store.bucket?
      FOLDER/latin.toml:1: cannot be read: it is not UTF-8; let callvault read it, or take it out of tenants_dir
      FOLDER/link.toml:1: cannot be read: no such file; let callvault read it, or take it out of tenants_dir
      FOLDER/nested.toml:1: tenants[nested.toml].tenants: has no place in a tenant; in a file of tenants_dir write its keys alone, and [ccfs] and [store] below them
      FOLDER/secret.toml:3: tenants[late].secret_key_file: the file it names cannot be read: no such file; name a file that holds the secret
      FOLDER/syntax.toml:2: column 14: this value is not valid TOML; put text in quotes: secret_key = "…"
      callvault.toml:12: worker.concurrency: must be between 1 and 50000, is 0; write a value in that range
    "#);
}

#[test]
fn what_a_tenant_lacks_is_told_as_its_file_would_say_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), format!("id = \"alpha\"\n{KEYS}")).unwrap();
    let loaded = with(dir.path(), "tenants_dir = \"FOLDER\"\n[store]\nbucket = \"b\"\n");
    assert_snapshot!(told(dir.path(), loaded), @"
    the configuration has a mistake:
      ccfs.endpoints: is required, and missing for tenants[alpha]; set it in [ccfs] or in the tenant's own [ccfs]
    ");
}

#[test]
fn a_folder_that_is_not_there_or_none_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (folder, what) in [("gone", "no such folder"), ("file", "it is no folder")] {
        let folder = dir.path().join(folder);
        let told = told(&folder, shared(&folder));
        let wanted = format!(
            "the configuration has a mistake:\n  callvault.toml:1: tenants_dir: cannot read FOLDER: \
             {what}; name a folder that callvault may read, or leave it empty"
        );
        assert_eq!(told, wanted);
    }
    assert_snapshot!(load("tenants_dir = 7", &[]).map(|_| ()).unwrap_err(), @"
    the configuration has a mistake:
      callvault.toml:1: tenants_dir: must be a string, is an integer; put it in quotes
    ");
}

#[test]
fn a_folder_without_a_tenant_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = shared(dir.path()).unwrap();
    assert_eq!(ids(&loaded), [""; 0]);
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert!(warning.starts_with("there is no tenant, neither in the file nor in "), "{warning}");
}

#[test]
fn a_slip_in_its_name_is_told() {
    let text = format!("tenant_dir = \"/x\"\n{LEAST}");
    let variables = [("CALLVAULT__TENANTS_DIRS", "/x"), ("CALLVAULT_TENANTS_DIR", "/x")];
    assert_snapshot!(load(&text, &variables).map(|_| ()).unwrap_err(), @"
    the configuration has 2 mistakes:
      callvault.toml:1: tenant_dir: is not known; did you mean tenants_dir?
      CALLVAULT__TENANTS_DIRS: is not known; did you mean CALLVAULT__TENANTS_DIR?
    ");
    let warned = load(LEAST, &variables[1..]).unwrap().warnings;
    assert_eq!(
        warned,
        ["CALLVAULT_TENANTS_DIR has no effect; did you mean CALLVAULT__TENANTS_DIR?"]
    );
}

#[test]
fn what_is_printed_can_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), format!("id = \"alpha\"\n{KEYS}")).unwrap();
    let loaded = shared(dir.path()).unwrap();
    let printed = crate::cli::config::run(&loaded);
    let file = dir.path().join("a.toml");
    assert!(printed.contains(&format!("# {}:1\n", file.display())), "{printed}");
    assert!(printed.starts_with("# tenants_dir = \""), "{printed}");
    let again = load(&printed, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
    assert_eq!(ids(&again), ["alpha"]);
}
