use super::*;
use crate::failure::Class;

const COMMON: &str = r#"
    [ccfs]
    endpoints = ["http://127.0.0.1:1"]
    [store]
    bucket = "recordings"
    endpoint = "http://127.0.0.1:1"
    access_key_id = "id"
    secret_access_key = "secret"
"#;

fn config(tenants: &[(&str, &str)]) -> Config {
    let mut text = COMMON.to_owned();
    for (id, own) in tenants {
        text += &format!(
            "[[tenants]]\nid = \"{id}\"\naccess_key = \"AK-{id}\"\nsecret_key = \"SK-{id}\"\n{own}\n"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("callvault.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), std::iter::empty()).unwrap().config
}

fn tenants(tenants: &[(&str, &str)]) -> Tenants {
    Tenants::connect(&config(tenants), &Metrics::new(), &Arc::default()).unwrap()
}

fn find(tenants: &Tenants, id: &str) -> Arc<Tenant> {
    tenants.find(&TenantId::new(id).unwrap()).unwrap()
}

fn reload(tenants: &Tenants, config: &Config) {
    tenants.change(tenants.prepare(config).unwrap());
}

#[tokio::test]
async fn tenants_of_one_ccfs_and_one_store_have_one_way_to_each() {
    let tenants = tenants(&[
        ("acme", ""),
        ("globex", ""),
        ("bucket", "[tenants.store]\nbucket = \"other\"\nkey = \"{tenant}/{name}\""),
        ("key", "[tenants.store]\naccess_key_id = \"own\"\nsecret_access_key = \"own\""),
    ]);
    let [acme, globex, bucket, key] =
        ["acme", "globex", "bucket", "key"].map(|id| find(&tenants, id));
    for other in [&globex, &bucket, &key] {
        assert!(acme.ccfs.goes_with(&other.ccfs), "{}", other.id);
        assert!(Arc::ptr_eq(&acme.ccfs_gate, &other.ccfs_gate), "{}", other.id);
    }
    assert!(acme.store.is(&globex.store));
    assert!(Arc::ptr_eq(&acme.keys, &globex.keys));
    // A bucket of its own is asked by the same client, and has a breaker of its own.
    assert!(!acme.store.is(&bucket.store) && acme.store.view().0 == bucket.store.view().0);
    assert!(!Arc::ptr_eq(&acme.store_gate, &bucket.store_gate));
    // A key of its own has another client, and the breaker of the bucket.
    assert_ne!(acme.store.view(), key.store.view());
    assert!(Arc::ptr_eq(&acme.store_gate, &key.store_gate));
    assert_eq!(tenants.now().stores().len(), 2);
    assert!(tenants.now().common_store().is_none());
}

#[tokio::test]
async fn who_goes_another_way_to_ccfs_has_a_breaker_of_its_own() {
    let two = "[tenants.ccfs]\nendpoints = [\"http://127.0.0.1:2\", \"http://127.0.0.1:3\"]";
    let turned = "[tenants.ccfs]\nendpoints = [\"http://127.0.0.1:3\", \"http://127.0.0.1:2\"]";
    let proxied = "[tenants.ccfs]\nproxy = \"http://127.0.0.1:4\"";
    let all = tenants(&[("acme", ""), ("two", two), ("turned", turned), ("proxied", proxied)]);
    let gate = |id| find(&all, id).ccfs_gate.clone();
    assert!(Arc::ptr_eq(&gate("two"), &gate("turned")), "the same set");
    for other in ["two", "proxied"] {
        assert!(!Arc::ptr_eq(&gate("acme"), &gate(other)), "{other}");
    }
    assert_eq!(gate("acme").place(), "ccfs:http://127.0.0.1:1");
    assert_eq!(gate("proxied").place(), "ccfs:http://127.0.0.1:1", "by its first endpoint");
}

#[tokio::test]
async fn what_is_equal_before_and_after_a_reload_stays_the_same() {
    let tenants = tenants(&[("acme", ""), ("globex", ""), ("initech", "")]);
    let [acme, globex] = ["acme", "globex"].map(|id| find(&tenants, id));
    let own = "[tenants.ccfs]\nendpoints = [\"http://127.0.0.1:2\"]";
    reload(&tenants.clone(), &config(&[("umbrella", ""), ("globex", own), ("acme", "")]));
    let now = find(&tenants, "acme");
    assert!(acme.ccfs.goes_with(&now.ccfs) && acme.store.is(&now.store));
    assert!(Arc::ptr_eq(&acme.ccfs_gate, &now.ccfs_gate));
    assert!(Arc::ptr_eq(&acme.store_gate, &now.store_gate));
    let changed = find(&tenants, "globex");
    assert!(!globex.ccfs.goes_with(&changed.ccfs));
    assert!(!Arc::ptr_eq(&globex.ccfs_gate, &changed.ccfs_gate));
    let gone = tenants.find(&TenantId::new("initech").unwrap()).err().unwrap();
    assert_eq!((gone.class, gone.reason), (Class::Permanent, Reason::TENANT_UNKNOWN));
    let order: Vec<_> = tenants.now().iter().map(|tenant| tenant.id.to_string()).collect();
    assert_eq!(order, ["umbrella", "globex", "acme"]);
}

#[tokio::test]
async fn a_slot_is_found_again_by_whom_it_was_given_to() {
    let tenants = tenants(&[("acme", ""), ("globex", "")]);
    let slot = |id| tenants.slot_of(&TenantId::new(id).unwrap());
    assert_eq!((slot("acme"), slot("globex"), slot("umbrella")), (Some(1), Some(2), None));
    reload(&tenants, &config(&[("umbrella", ""), ("globex", "")]));
    assert_eq!((slot("acme"), slot("globex"), slot("umbrella")), (None, Some(2), Some(3)));
    reload(&tenants, &config(&[("acme", "")]));
    assert_eq!((slot("acme"), slot("globex"), slot("umbrella")), (Some(1), None, None));
}

#[tokio::test]
async fn a_mistake_in_one_leaves_all_as_they_were() {
    let tenants = tenants(&[("acme", ""), ("globex", "")]);
    let before = find(&tenants, "acme");
    let mut wrong = config(&[("umbrella", ""), ("acme", "")]);
    wrong.tenants[1].ccfs.ca_file = Some("/no/such/file".into());
    let error = tenants.prepare(&wrong).err().unwrap().to_string();
    assert!(error.starts_with("tenant acme: ccfs.ca_file: "), "{error}");
    assert!(Arc::ptr_eq(&before, &find(&tenants, "acme")));
    assert_eq!(tenants.slot_of(&TenantId::new("umbrella").unwrap()), None);
    find(&tenants, "globex");
}

/// Its content counts, too.
#[tokio::test]
async fn a_file_of_cas_that_was_changed_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let certificate = crate::trust::tests::VERSION_ONE;
    std::fs::write(&file, certificate).unwrap();
    let own = format!("[tenants.ccfs]\nca_file = {:?}\n[tenants.store]\nca_file = {0:?}", file);
    let config = config(&[("acme", &own)]);
    let tenants = Tenants::connect(&config, &Metrics::new(), &Arc::default()).unwrap();
    let [before, same] = [0; 2].map(|_| {
        reload(&tenants, &config);
        find(&tenants, "acme")
    });
    assert!(before.ccfs.goes_with(&same.ccfs) && before.store.is(&same.store));
    std::fs::write(&file, format!("{certificate}\n# the same, and one line more\n")).unwrap();
    reload(&tenants, &config);
    let after = find(&tenants, "acme");
    assert!(!before.ccfs.goes_with(&after.ccfs) && !before.store.is(&after.store));
}
