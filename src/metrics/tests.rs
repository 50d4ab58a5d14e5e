use super::*;

fn id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn configured(tenants: &[(usize, &str)]) -> Configured {
    Configured {
        tenants: tenants.iter().map(|(slot, name)| (*slot, id(name))).collect(),
        ccfs_codes: ["0300012", "0300011", "0300008"].map(str::to_owned).into(),
        servers: ["ccfs:ccfs.example.com", "store:recordings"].map(str::to_owned).into(),
    }
}

fn metrics() -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.adopt(&configured(&[(1, "acme"), (2, "umbrella")]));
    metrics
}

fn acme(metrics: &Metrics) -> TenantLabel {
    metrics.tenant(Some(&id("acme")))
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

/// How many series a tenant has.
fn lines_of(text: &str, tenant: &str) -> usize {
    let label = format!("tenant=\"{tenant}\"");
    text.lines().filter(|line| line.contains(&label)).count()
}

/// Contract 7, with one series of each that must stand at zero (or at its fixed value); `None` where
/// all begin when they are first counted.
const CONTRACT: &[(&str, &str, Option<&str>)] = &[
    ("callvault_messages_received_total", "counter", Some(r#"{type="recording.dump-item"} 0"#)),
    ("callvault_messages_settled_total", "counter", Some(r#"{how="given_back"} 0"#)),
    ("callvault_jobs_total", "counter", Some(r#"{outcome="already_archived",tenant="acme"} 0"#)),
    ("callvault_retries_total", "counter", None),
    ("callvault_dead_total", "counter", None),
    ("callvault_unproven_total", "counter", None),
    ("callvault_job_duration_seconds", "histogram", Some(r#"_count{outcome="archived"} 0"#)),
    (
        "callvault_stage_duration_seconds",
        "histogram",
        Some(r#"_sum{result="canceled",stage="announce"} 0"#),
    ),
    ("callvault_archive_lag_seconds", "histogram", None),
    ("callvault_downloaded_bytes_total", "counter", Some(r#"{tenant="unknown"} 0"#)),
    ("callvault_stored_bytes_total", "counter", Some(r#"{tenant="acme"} 0"#)),
    ("callvault_recording_size_bytes", "histogram", Some(r#"_bucket{le="1048576"} 0"#)),
    ("callvault_ccfs_responses_total", "counter", None),
    (
        "callvault_store_requests_total",
        "counter",
        Some(r#"{operation="upload_part",result="SlowDown"} 0"#),
    ),
    ("callvault_jobs_in_flight", "gauge", Some(r#"{tenant="unknown"} 0"#)),
    ("callvault_deliveries_unsettled_total", "counter", Some(" 0")),
    ("callvault_buffer_bytes", "gauge", Some(" 0")),
    ("callvault_buffer_limit_bytes", "gauge", Some(" 0")),
    ("callvault_broker_connected", "gauge", Some(" 0")),
    ("callvault_broker_reconnects_total", "counter", Some(" 0")),
    ("callvault_tenant_concurrency_limit", "gauge", Some(r#"{tenant="acme"} 0"#)),
    ("callvault_tenants", "gauge", Some(" 2")),
    ("callvault_config_reloads_total", "counter", Some(r#"{result="error"} 0"#)),
    ("callvault_breaker_open", "gauge", Some(r#"{target="ccfs:ccfs.example.com"} 0"#)),
    ("callvault_breaker_open", "gauge", Some(r#"{target="store:recordings"} 0"#)),
    ("callvault_breaker_open", "gauge", Some(r#"{target="events"} 0"#)),
    ("callvault_build_info", "gauge", Some("{revision=")),
    ("process_resident_memory_bytes", "gauge", Some(" ")),
];

#[test]
fn every_series_of_the_contract_stands_from_the_start() {
    let text = metrics().render();
    for (name, kind, series) in CONTRACT {
        let has = |line: &str| text.lines().any(|found| found.starts_with(line));
        assert!(has(&format!("# HELP {name} ")), "{name} has no help");
        assert!(has(&format!("# TYPE {name} {kind}")), "{name} is no {kind}");
        match series {
            Some(series) => assert!(has(&format!("{name}{series}")), "no {name}{series}:\n{text}"),
            None => assert!(!has(&format!("{name}{{")) && !has(&format!("{name}_")), "{name}"),
        }
    }
    let names: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("# TYPE callvault_")).collect();
    let of_contract = CONTRACT.iter().filter(|(name, ..)| name.starts_with("callvault_"));
    let listed: BTreeSet<_> = of_contract.map(|(name, ..)| name).collect();
    assert_eq!(names.len(), listed.len(), "{names:?}");
    let once: BTreeSet<_> = names.iter().collect();
    assert_eq!(once.len(), names.len(), "each family once");
}

#[test]
fn a_tenant_costs_forty_lines_at_most() {
    let metrics = metrics();
    assert_eq!(lines_of(&metrics.render(), "acme"), 10, "one at rest");
    // What the recordings of a tenant meet that has seen a bad week.
    let tenant = acme(&metrics);
    for outcome in JobOutcome::ALL {
        metrics.job_finished(tenant, *outcome, Duration::from_millis(70));
    }
    let answers = ["ok", "0300008", "0300011", "0300012", "timeout", "unreachable", "http_502"];
    for code in answers {
        metrics.ccfs_response(tenant, code);
        metrics.retried(tenant, &Reason::ccfs(code));
    }
    for reason in [Reason::MESSAGE_INVALID, Reason::STORE_CONFLICT] {
        metrics.dead(tenant, &reason);
    }
    metrics.unproven(tenant, &Reason::CCFS_TRUNCATED);
    metrics.archive_lag(tenant, Duration::from_secs(60));
    metrics.downloaded(tenant, 1);
    metrics.stored(tenant, 1);
    metrics.tenant_concurrency_limit(tenant, 3);
    let _ticket = metrics.ledger().receive(crate::request::MessageType::CallCompleted, tenant);
    let text = metrics.render();
    assert!(lines_of(&text, "acme") <= 40, "{text}");
    assert_eq!(lines_of(&text, "umbrella"), 10, "the other rests");
}

#[test]
fn a_thousand_tenants_are_a_scrape_of_less_than_a_megabyte() {
    let metrics = Metrics::new();
    let names: Vec<_> = (1..=1000).map(|slot| (slot, format!("tenant-{slot:04}"))).collect();
    let named: Vec<_> = names.iter().map(|(slot, name)| (*slot, name.as_str())).collect();
    metrics.adopt(&configured(&named));
    let text = metrics.render();
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    assert!(has(&text, "callvault_tenants 1000"));
}

#[test]
fn codes_of_servers_make_no_new_series() {
    let metrics = metrics();
    let tenant = acme(&metrics);
    let unknown = metrics.tenant(Some(&id("nobody")));
    assert_eq!(unknown, TenantLabel::UNKNOWN);
    for reason in [Reason::ccfs("0300012"), Reason::ccfs("0777777"), Reason::store("Odd", 400)] {
        metrics.retried(tenant, &reason);
        metrics.dead(tenant, &reason);
    }
    metrics.job_finished(tenant, JobOutcome::Dead, Duration::from_millis(70));
    metrics.dead(unknown, &Reason::TENANT_UNKNOWN);
    metrics.ccfs_response(tenant, "nonsense");
    metrics.ccfs_response(tenant, "sense");
    metrics.store_request(StoreOperation::Put, "Nonsense");
    metrics.tenant_concurrency_limit(tenant, 3);
    let text = metrics.render();
    for line in [
        r#"callvault_retries_total{reason="ccfs.other",tenant="acme"} 1"#,
        r#"callvault_dead_total{reason="store.other",tenant="acme"} 1"#,
        r#"callvault_dead_total{reason="tenant.unknown",tenant="unknown"} 1"#,
        r#"callvault_ccfs_responses_total{code="other",tenant="acme"} 2"#,
        r#"callvault_store_requests_total{operation="put",result="other"} 1"#,
        r#"callvault_job_duration_seconds_bucket{outcome="dead",le="0.1"} 1"#,
        r#"callvault_tenant_concurrency_limit{tenant="acme"} 3"#,
    ] {
        assert!(has(&text, line), "no {line} in:\n{text}");
    }
}

#[test]
fn the_lag_of_a_recording_stands_in_its_bucket_and_all_above() {
    let metrics = metrics();
    for seconds in [30, 31, 4 * 3600, 30 * 86_400] {
        metrics.archive_lag(acme(&metrics), Duration::from_secs(seconds));
    }
    let text = metrics.render();
    for (series, value) in [
        (r#"bucket{tenant="acme",le="30"}"#, 1),
        (r#"bucket{tenant="acme",le="60"}"#, 2),
        (r#"bucket{tenant="acme",le="3600"}"#, 2),
        (r#"bucket{tenant="acme",le="14400"}"#, 3),
        (r#"bucket{tenant="acme",le="604800"}"#, 3),
        (r#"bucket{tenant="acme",le="+Inf"}"#, 4),
        (r#"sum{tenant="acme"}"#, 61 + 4 * 3600 + 30 * 86_400),
        (r#"count{tenant="acme"}"#, 4),
    ] {
        let line = format!("callvault_archive_lag_seconds_{series} {value}");
        assert!(has(&text, &line), "no {line} in:\n{text}");
    }
}

#[test]
fn tenants_go_and_come_back_with_what_was_counted() {
    let metrics = metrics();
    let old = acme(&metrics);
    metrics.job_finished(old, JobOutcome::Archived, Duration::ZERO);
    metrics.retried(old, &Reason::ccfs("0300012"));
    metrics.adopt(&configured(&[(2, "umbrella"), (3, "globex")]));
    // What was under way ends, seen by nobody; what comes for it now is of nobody.
    metrics.job_finished(old, JobOutcome::Archived, Duration::ZERO);
    metrics.stored(old, 7);
    assert_eq!(acme(&metrics), TenantLabel::UNKNOWN);
    let text = metrics.render();
    let lines = ["acme", "umbrella", "globex"].map(|tenant| lines_of(&text, tenant));
    assert_eq!(lines, [0, 10, 10], "{text}");
    assert_eq!(metrics.totals(), Totals { archived: 2, stored_bytes: 7 });
    let shown: Vec<_> = metrics.snapshot().tenants.into_iter().map(|tenant| tenant.id).collect();
    assert_eq!(shown, ["umbrella", "globex", "unknown"]);

    metrics.adopt(&configured(&[(1, "acme")]));
    assert_eq!(acme(&metrics), old);
    let text = metrics.render();
    assert!(has(&text, r#"callvault_jobs_total{outcome="archived",tenant="acme"} 2"#), "{text}");
    assert!(has(&text, r#"callvault_retries_total{reason="ccfs.0300012",tenant="acme"} 1"#));
    assert!(has(&text, "callvault_tenants 1"));
}

#[test]
fn the_breaker_of_a_server_that_nobody_uses_goes_with_it() {
    let metrics = metrics();
    let at = |text: &str, target: &str| {
        let series = format!("callvault_breaker_open{{target=\"{target}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    };
    for target in [BreakerTarget::Store("recordings"), BreakerTarget::Ccfs("ccfs.example.com")] {
        metrics.breaker_open(target, true);
    }
    let mut now = configured(&[(1, "acme")]);
    now.servers = ["store:recordings", "store:others"].map(str::to_owned).into();
    metrics.adopt(&now);
    // Its last job ends.
    metrics.breaker_open(BreakerTarget::Ccfs("ccfs.example.com"), true);
    let text = metrics.render();
    assert_eq!(at(&text, "ccfs:ccfs.example.com"), None);
    assert_eq!(at(&text, "store:recordings").as_deref(), Some("1"), "it stays open");
    assert_eq!(at(&text, "store:others").as_deref(), Some("0"));
    metrics.breaker_open(BreakerTarget::Events, true);
    assert_eq!(at(&metrics.render(), "events").as_deref(), Some("1"));
}

#[test]
fn reloads_are_counted_by_what_came_of_them() {
    let metrics = metrics();
    metrics.config_reloaded(Reload::Ok);
    metrics.config_reloaded(Reload::Error);
    metrics.config_reloaded(Reload::Ok);
    let text = metrics.render();
    assert!(has(&text, r#"callvault_config_reloads_total{result="ok"} 2"#), "{text}");
    assert!(has(&text, r#"callvault_config_reloads_total{result="error"} 1"#), "{text}");
}

#[test]
fn the_snapshot_agrees_with_the_series() {
    let metrics = metrics();
    let tenant = acme(&metrics);
    let _ticket = metrics.ledger().receive(crate::request::MessageType::CallCompleted, tenant);
    metrics.job_finished(tenant, JobOutcome::Archived, Duration::from_secs(1));
    metrics.job_finished(tenant, JobOutcome::Dead, Duration::from_secs(1));
    metrics.stored(tenant, 640);
    metrics.buffer_limit(100);
    metrics.buffer_taken(30);
    metrics.buffer_returned(10);
    metrics.tenant_concurrency_limit(tenant, 48);
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.messages.in_flight, 1);
    assert_eq!(snapshot.buffers.in_use_bytes, 20);
    let acme = &snapshot.tenants[0];
    assert_eq!((acme.id.as_str(), acme.in_flight, acme.limit), ("acme", 1, 48));
    assert_eq!((acme.archived, acme.failed, acme.stored_bytes), (1, 1, 640));
    assert_eq!(snapshot.tenants.last().map(|last| last.id.as_str()), Some("unknown"));
    assert_eq!(metrics.totals(), Totals { archived: 1, stored_bytes: 640 });
}
