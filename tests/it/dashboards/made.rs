//! The JSON of deploy/grafana/dashboards is made of the TOML beside it, which is what people edit: what
//! a panel asks and says, without what Grafana wants in every one of them. `UPDATE=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::readme::places::anchor;
use crate::rules::file;

/// The width of a page.
const COLUMNS: u64 = 24;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    title: String,
    description: String,
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panel: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    #[serde(default)]
    kind: Kind,
    unit: String,
    /// What it shows, and what a bad value means.
    description: String,
    /// A heading of docs/OPERATIONS.md.
    runbook: String,
    query: Vec<Query>,
    width: Option<u64>,
    height: Option<u64>,
    #[serde(default)]
    stack: bool,
    max: Option<f64>,
    /// 0 where an `increase()` is of things that are counted: it reckons fractions.
    decimals: Option<u8>,
    /// From which value on it has a colour.
    #[serde(default)]
    thresholds: BTreeMap<String, f64>,
    /// Of states: 0 is the bad one.
    #[serde(default)]
    inverted: bool,
    /// Of a table: what its values are called, the one that it is sorted by first,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// and their units, where they are not that of the panel.
    #[serde(default)]
    units: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Lines,
    Stat,
    Table,
    States,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    expr: String,
    legend: Option<String>,
}

/// Where each page's TOML is, and where its JSON.
pub fn pages() -> Vec<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana");
    let entries = fs::read_dir(&folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry of it").path());
    let json = |toml: &Path| {
        let stem = toml.file_stem().expect("a file has a name").to_owned();
        folder.join("dashboards").join(stem).with_extension("json")
    };
    let mut pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|toml| (toml.clone(), json(&toml)))
        .collect();
    pages.sort();
    pages
}

#[test]
fn the_dashboards_are_made_of_their_sources() {
    let pages = pages();
    assert_eq!(pages.len(), 4);
    for (toml, path) in pages {
        let page = fs::read_to_string(&toml).expect("a file of the repository");
        let page: Page = toml::from_str(&page).unwrap_or_else(|error| panic!("{error}"));
        let name = toml.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
        let made = serde_json::to_string_pretty(&page.made(name)).expect("it is JSON") + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &made).expect("the dashboard can be written");
        }
        let is = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            is == made,
            "{} is not what its TOML says: UPDATE=1 writes it anew",
            path.display()
        );
    }
}

/// A link to a heading of docs/OPERATIONS.md, at the address that the alerts have.
fn runbook(title: &str, heading: &str) -> Value {
    let alerts = file("deploy/prometheus/alerts.yml");
    let (_, address) = alerts.split_once("runbook_url: ").expect("alerts link to their entries");
    let address = address.split('#').next().expect("a split has a first part");
    json!({
        "type": "link", "title": title, "url": format!("{address}#{}", anchor(heading)),
        "asDropdown": false, "icon": "doc", "includeVars": false, "keepTime": false, "tags": [],
        "targetBlank": true, "tooltip": "What it means, and what to do",
    })
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Page {
    fn made(&self, name: &str) -> Value {
        let Self { title, description, row } = self;
        let mut grid = Grid::default();
        let panels: Vec<_> = row.iter().flat_map(|row| row.made(&mut grid)).collect();
        json!({
            "uid": format!("callvault-{name}"),
            "title": title,
            "description": description,
            "tags": ["callvault"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-6h", "to": "now" },
            "timezone": "browser",
            "annotations": { "list": [] },
            "links": [
                {
                    "type": "dashboards", "title": "callvault", "tags": ["callvault"],
                    "asDropdown": false, "icon": "dashboard", "includeVars": true,
                    "keepTime": true, "targetBlank": false, "tooltip": "", "url": "",
                },
                runbook("Runbook", "Alerts"),
            ],
            "templating": { "list": [
                {
                    "name": "datasource", "label": "Prometheus", "type": "datasource",
                    "query": "prometheus", "refresh": 1,
                },
                variable("instance", "Worker", "label_values(callvault_build_info, instance)"),
                variable("tenant", "Tenant", "label_values(callvault_jobs_in_flight, tenant)"),
            ] },
            "panels": panels,
        })
    }
}

/// One that takes its values from Prometheus: several at once, all of them at first.
fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": source(),
        "query": { "query": query, "refId": name },
        // At each change of the time range, since pods come and go; sorted by name.
        "refresh": 2, "sort": 1,
        "multi": true, "includeAll": true, "allValue": ".*",
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
    })
}

/// Where the next panel goes: from left to right, then below what is there.
#[derive(Default)]
struct Grid {
    id: u64,
    x: u64,
    y: u64,
    /// The height of the line of panels.
    line: u64,
}

impl Grid {
    /// A place and an id.
    fn place(&mut self, width: u64, height: u64) -> (Value, u64) {
        if self.x + width > COLUMNS {
            (self.x, self.y, self.line) = (0, self.y + self.line, 0);
        }
        let place = json!({ "x": self.x, "y": self.y, "w": width, "h": height });
        self.x += width;
        self.line = self.line.max(height);
        self.id += 1;
        (place, self.id)
    }
}

impl Row {
    fn made(&self, grid: &mut Grid) -> Vec<Value> {
        // The whole width: it begins a line, and ends it.
        let (place, id) = grid.place(COLUMNS, 1);
        let head = json!({
            "id": id, "type": "row", "title": self.title, "gridPos": place, "collapsed": false,
            "panels": [],
        });
        [head].into_iter().chain(self.panel.iter().map(|panel| panel.made(grid))).collect()
    }
}

impl Panel {
    fn made(&self, grid: &mut Grid) -> Value {
        let (kind, options) = self.looks();
        let (width, height) = match self.kind {
            Kind::Stat => (4, 4),
            Kind::Lines | Kind::States => (12, 8),
            Kind::Table => (12, 9),
        };
        let size = (self.width.unwrap_or(width), self.height.unwrap_or(height));
        let (place, id) = grid.place(size.0, size.1);
        let link = runbook(&format!("Runbook: {}", self.runbook), &self.runbook);
        let mut panel = json!({
            "id": id, "type": kind, "title": self.title, "description": self.description,
            "datasource": source(), "gridPos": place, "links": [link],
            "fieldConfig": { "defaults": self.defaults(), "overrides": self.overrides() },
            "options": options,
            "targets": self.targets(),
        });
        if self.kind == Kind::Table {
            panel["transformations"] = self.transformations();
        }
        panel
    }

    fn targets(&self) -> Vec<Value> {
        let table = self.kind == Kind::Table;
        let target = |(query, letter): (&Query, char)| {
            json!({
                "refId": letter.to_string(), "datasource": source(), "editorMode": "code",
                "expr": query.expr, "legendFormat": query.legend.as_deref().unwrap_or("__auto"),
                "instant": table, "range": !table,
                "format": if table { "table" } else { "time_series" },
            })
        };
        self.query.iter().zip('A'..='Z').map(target).collect()
    }

    /// The name of its kind in Grafana, and how that one looks.
    fn looks(&self) -> (&'static str, Value) {
        let last = json!(["lastNotNull", "max"]);
        match self.kind {
            Kind::Lines => (
                "timeseries",
                json!({
                    "legend": {
                        "calcs": last, "displayMode": "table", "placement": "bottom",
                        "showLegend": true, "sortBy": "Last *", "sortDesc": true,
                    },
                    "tooltip": { "mode": "multi", "sort": "desc" },
                }),
            ),
            Kind::Stat => (
                "stat",
                json!({
                    "colorMode": "value", "graphMode": "area", "justifyMode": "auto",
                    "orientation": "auto", "textMode": "value", "wideLayout": true,
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                }),
            ),
            Kind::Table => {
                let by = self.columns.values().next().map_or("alertname", String::as_str);
                let sort = json!([{ "displayName": by, "desc": !self.columns.is_empty() }]);
                ("table", json!({ "cellHeight": "sm", "showHeader": true, "sortBy": sort }))
            }
            Kind::States => (
                "state-timeline",
                json!({
                    "alignValue": "left", "mergeValues": true, "rowHeight": 0.8,
                    "showValue": "never", "tooltip": { "mode": "single", "sort": "none" },
                    "legend": {
                        "calcs": [], "displayMode": "list", "placement": "bottom",
                        "showLegend": true,
                    },
                }),
            ),
        }
    }

    fn defaults(&self) -> Value {
        let mut defaults = json!({ "unit": self.unit, "min": 0 });
        if let Some(max) = self.max {
            defaults["max"] = json!(max);
        }
        if let Some(decimals) = self.decimals {
            defaults["decimals"] = json!(decimals);
        }
        let mut steps: Vec<_> = self.thresholds.iter().collect();
        steps.sort_by(|one, other| one.1.total_cmp(other.1));
        // The first has no bound.
        let step = |(at, (colour, value)): (usize, (&String, &f64))| json!({ "color": colour, "value": if at == 0 { Value::Null } else { json!(value) } });
        let mut steps: Vec<_> = steps.into_iter().enumerate().map(step).collect();
        let colours = json!({ "mode": "thresholds" });
        match self.kind {
            Kind::Lines => {
                defaults["custom"] = json!({
                    "drawStyle": "line", "fillOpacity": if self.stack { 30 } else { 8 },
                    "lineWidth": 1, "showPoints": "never", "spanNulls": false,
                    "stacking": { "group": "A", "mode": if self.stack { "normal" } else { "none" } },
                });
            }
            Kind::Stat => defaults["color"] = colours,
            Kind::Table => defaults["custom"] = json!({ "align": "auto", "filterable": true }),
            Kind::States => {
                let [zero, one] = if self.inverted { ["red", "green"] } else { ["green", "red"] };
                let text = |bad| if bad { "no" } else { "well" };
                defaults["color"] = colours;
                defaults["mappings"] = json!([{ "type": "value", "options": {
                    "0": { "color": zero, "index": 0, "text": text(self.inverted) },
                    "1": { "color": one, "index": 1, "text": text(!self.inverted) },
                } }]);
                defaults["custom"] = json!({ "fillOpacity": 80, "lineWidth": 0 });
            }
        }
        if steps.is_empty() {
            steps.push(json!({ "color": "green", "value": null }));
        }
        defaults["thresholds"] = json!({ "mode": "absolute", "steps": steps });
        defaults
    }

    /// The columns whose unit is another.
    fn overrides(&self) -> Vec<Value> {
        let of = |(column, unit): (&String, &String)| {
            json!({
                "matcher": { "id": "byName", "options": self.columns[column] },
                "properties": [{ "id": "unit", "value": unit }],
            })
        };
        self.units.iter().map(of).collect()
    }

    /// One row a worker or a tenant, without what says nothing to a person.
    fn transformations(&self) -> Value {
        let hidden =
            if self.columns.is_empty() { vec!["Time", "Value"] } else { vec!["Time", "job"] };
        let hidden: Map<_, _> =
            hidden.into_iter().map(|column| (column.to_owned(), json!(true))).collect();
        json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": {
                "excludeByName": hidden, "indexByName": {}, "renameByName": self.columns,
            } },
        ])
    }
}
