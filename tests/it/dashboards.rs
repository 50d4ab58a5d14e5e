//! The dashboards of deploy/grafana: their shape, and what each panel and each rule says of real workers
//! under load, in a real Prometheus.

mod drawn;
mod live;
mod made;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::readme::places::anchors;
use crate::rules::{file, known_series, recorded, selected};

/// What Grafana itself puts in.
const OF_GRAFANA: &str = "__rate_interval";
/// The series that Prometheus makes of alerts.
const ALERTS: &str = "ALERTS";

/// A panel of a dashboard, but for the heads of rows.
struct Panel {
    /// Of the dashboard and of the panel.
    name: String,
    json: Value,
}

impl Panel {
    fn expressions(&self) -> impl Iterator<Item = &str> {
        let targets = self.json["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.iter().map(|target| target["expr"].as_str().expect("an expression"))
    }
}

fn dashboards() -> Vec<Value> {
    let texts = made::pages().into_iter().map(|(_, json)| fs::read_to_string(json));
    let parsed = texts.map(|text| serde_json::from_str(&text.expect("it is there")));
    parsed.map(|dashboard| dashboard.expect("JSON")).collect()
}

fn all_panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().expect("panels").iter()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = Panel> {
    let own = all_panels(dashboard).filter(|panel| panel["type"] != "row");
    own.map(|panel| {
        let name = format!("{} / {}", dashboard["title"], panel["title"]);
        Panel { name, json: panel.clone() }
    })
}

fn every_panel() -> Vec<Panel> {
    dashboards().iter().flat_map(|dashboard| panels(dashboard).collect::<Vec<_>>()).collect()
}

#[test]
fn every_panel_has_a_unit_says_what_is_bad_and_leads_to_the_runbook() {
    let headings = anchors(&file("docs/OPERATIONS.md"));
    for panel in every_panel() {
        let Panel { name, json } = &panel;
        let text = |pointer: &str| {
            let text = json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            assert!(!text.is_empty(), "{name}: no {pointer}");
            text.to_owned()
        };
        text("/fieldConfig/defaults/unit");
        let described = text("/description");
        assert!(described.len() > 60 && described.ends_with('.'), "{name}: {described}");
        let link = text("/links/0/url");
        let (_, heading) = link.split_once('#').expect("a heading");
        assert!(headings.contains(heading), "{name}: the runbook has no {heading}");
        assert!(panel.expressions().count() > 0, "{name} asks nothing");
        let letters = json["targets"].as_array().expect("targets").iter();
        let letters: BTreeSet<_> = letters.map(|target| target["refId"].as_str()).collect();
        assert_eq!(letters.len(), panel.expressions().count(), "{name}: each target its letter");
    }
}

#[test]
fn panels_have_ids_and_places_of_their_own() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let title = &dashboard["title"];
        assert!(uids.insert(dashboard["uid"].as_str().expect("a uid").to_owned()), "{title}");
        let ids: BTreeSet<_> = all_panels(&dashboard).map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), all_panels(&dashboard).count(), "{title}: an id each");
        let mut taken = BTreeSet::new();
        for panel in all_panels(&dashboard) {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{title} {}", panel["title"]);
            let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            for cell in cells {
                assert!(taken.insert(cell), "{title}: {} lies on another", panel["title"]);
            }
        }
    }
}

#[test]
fn queries_use_variables_and_series_that_exist() {
    let known = known_series();
    for dashboard in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
        let variables: BTreeSet<_> = variables.filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(variables, BTreeSet::from(["datasource", "instance", "tenant"]));
        for panel in panels(&dashboard) {
            let name = &panel.name;
            assert_eq!(panel.json["datasource"]["uid"], "${datasource}", "{name}");
            for expression in panel.expressions() {
                for used in expression.split('$').skip(1) {
                    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                    let used = used.split(word).next().unwrap_or_default();
                    let there = variables.contains(used) || used == OF_GRAFANA;
                    assert!(there, "{name}: there is no ${used}");
                }
                for series in selected(expression) {
                    let there = known.contains(&series) || series == ALERTS;
                    assert!(there || series.starts_with('$'), "{name}: there is no {series}");
                }
            }
        }
    }
}

#[test]
fn compose_provisions_the_dashboards() {
    let compose = file("deploy/compose/compose.yaml");
    let (source, pages) = (
        "grafana/provisioning/datasources/prometheus.yaml",
        "grafana/provisioning/dashboards/callvault.yaml",
    );
    let folder = "/etc/grafana/dashboards";
    for mount in [
        format!("../grafana/dashboards:{folder}:ro"),
        "../grafana/provisioning:/etc/grafana/provisioning:ro".to_owned(),
    ] {
        assert!(compose.contains(&mount), "no {mount}");
    }
    assert!(file(&format!("deploy/{pages}")).contains(&format!("path: {folder}\n")));
    assert!(compose.contains(&format!("{folder}/overview.json")));
    assert!(file(&format!("deploy/{source}")).contains("url: http://prometheus:9090\n"));
}

#[test]
fn what_is_recorded_is_used() {
    let rules = file("deploy/prometheus/recording.yml") + &file("deploy/prometheus/alerts.yml");
    let asked: String = every_panel().iter().flat_map(Panel::expressions).collect();
    for name in recorded() {
        let times = rules.matches(&name).count() + asked.matches(&name).count();
        assert!(times > 1, "{name} is recorded for nobody");
    }
}
