//! Pictures of the dashboards for docs/: what their queries gave, drawn plainly. Grafana draws better;
//! this shows what is on them without one. `DRAW=1 cargo test --test it dashboards::live` draws anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Panel, dashboards, live, panels};
use crate::support::prometheus::{Line, Prometheus, Sample};

/// Of a column and of a line of Grafana's grid, in pixels.
const COLUMN: f64 = 50.0;
const LINE: f64 = 26.0;
const GAP: f64 = 4.0;
const COLOURS: [&str; 8] =
    ["#2f6fd0", "#3a9a4b", "#d97b1c", "#c23b3b", "#7b55b8", "#14919b", "#8a6d3b", "#d04f9b"];
/// As many lines of a legend as there is room for.
const LEGEND: usize = 4;

/// Draws each dashboard as it was in the last `seconds`, with other names for what chance has named.
pub async fn draw(prometheus: &Prometheus, seconds: u32, names: &[(String, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&folder).expect("the folder can be made");
    for dashboard in dashboards() {
        let name = dashboard["uid"].as_str().expect("a uid").trim_start_matches("callvault-");
        let mut picture = page(&dashboard, prometheus, seconds).await;
        for (chance, name) in names {
            picture = picture.replace(chance, name);
        }
        fs::write(folder.join(format!("dashboard-{name}.svg")), picture).expect("it is written");
    }
}

/// Where a panel lies: left, top, width, height.
#[derive(Clone, Copy)]
struct Place(f64, f64, f64, f64);

impl Place {
    fn of(panel: &Value) -> Self {
        let side = |side: &str| panel["gridPos"][side].as_f64().expect("a number");
        let (x, y) = (side("x") * COLUMN, side("y") * LINE);
        Self(x + GAP, y + GAP, side("w") * COLUMN - 2.0 * GAP, side("h") * LINE - 2.0 * GAP)
    }
}

async fn page(dashboard: &Value, prometheus: &Prometheus, seconds: u32) -> String {
    let all = dashboard["panels"].as_array().expect("panels");
    let bottom = all.iter().map(Place::of).map(|Place(_, y, _, h)| y + h).fold(0.0, f64::max) + GAP;
    let width = 24.0 * COLUMN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {bottom}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#333\">\n\
         <rect width=\"{width}\" height=\"{bottom}\" fill=\"#f2f3f5\"/>\n"
    );
    for head in all.iter().filter(|panel| panel["type"] == "row") {
        let Place(x, y, ..) = Place::of(head);
        let title = escaped(head["title"].as_str().expect("a title"));
        text(&mut svg, x + 2.0, y + 15.0, "font-size=\"14\" font-weight=\"600\"", &title);
    }
    for panel in panels(dashboard) {
        let place = Place::of(&panel.json);
        let Place(x, y, w, h) = place;
        put(
            &mut svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"3\" fill=\"#fff\" stroke=\"#ddd\"/>\n"
            ),
        );
        let title = escaped(panel.json["title"].as_str().expect("a title"));
        text(&mut svg, x + 8.0, y + 16.0, "font-weight=\"600\"", &title);
        match panel.json["type"].as_str().expect("a type") {
            "table" => table(&mut svg, place, &panel, prometheus).await,
            kind => {
                let lines = lines(&panel, prometheus, seconds).await;
                let unit = panel.json["fieldConfig"]["defaults"]["unit"].as_str().expect("a unit");
                match kind {
                    "stat" => stat(&mut svg, place, &lines, unit),
                    "state-timeline" => states(&mut svg, place, &lines, &panel.json),
                    _ => chart(&mut svg, place, &lines, unit),
                }
            }
        }
    }
    svg + "</svg>\n"
}

/// Each line with its legend.
async fn lines(panel: &Panel, prometheus: &Prometheus, seconds: u32) -> Vec<(String, Line)> {
    let mut all = Vec::new();
    for target in panel.json["targets"].as_array().expect("targets") {
        let expression = target["expr"].as_str().expect("an expression");
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        for line in prometheus.range(&live::query(expression, "10s"), seconds).await {
            let mut name = legend.to_owned();
            for (label, value) in &line.labels {
                name = name.replace(&format!("{{{{{label}}}}}"), value);
            }
            all.push((name, line));
        }
    }
    // The highest first, as the legends of Grafana have it.
    all.sort_by(|(_, one), (_, other)| last(other).total_cmp(&last(one)));
    all
}

fn last(line: &Line) -> f64 {
    line.points.iter().rev().map(|point| point.1).find(|value| value.is_finite()).unwrap_or(0.0)
}

fn stat(svg: &mut String, Place(x, y, w, h): Place, lines: &[(String, Line)], unit: &str) {
    let value = lines.first().map_or("–".to_owned(), |(_, line)| shown(last(line), unit));
    let style = "font-size=\"28\" font-weight=\"600\" text-anchor=\"middle\"";
    text(svg, x + w / 2.0, y + h / 2.0 + 20.0, style, &value);
}

fn chart(svg: &mut String, Place(x, y, w, h): Place, lines: &[(String, Line)], unit: &str) {
    let legend = lines.len().min(LEGEND);
    let (left, top) = (x + 66.0, y + 28.0);
    let (width, height) = (w - 78.0, h - 52.0 - 14.0 * legend as f64);
    let points = || lines.iter().flat_map(|(_, line)| &line.points).filter(|p| p.1.is_finite());
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let highest = if highest == 0.0 { 1.0 } else { highest * 1.1 };
    let (from, until) = points()
        .fold((f64::MAX, f64::MIN), |(from, until), (time, _)| (from.min(*time), until.max(*time)));
    for part in 0..=2_u8 {
        let value = highest * f64::from(part) / 2.0;
        let at = top + height * (1.0 - f64::from(part) / 2.0);
        put(svg, format_args!("<path d=\"M{left:.0} {at:.0}h{width:.0}\" stroke=\"#e6e6e6\"/>\n"));
        text(svg, left - 5.0, at + 4.0, "fill=\"#777\" text-anchor=\"end\"", &shown(value, unit));
    }
    for ((_, line), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        let mut pen = "M";
        for (time, value) in &line.points {
            if value.is_finite() {
                let at = left + width * (time - from) / (until - from).max(1.0);
                put(
                    &mut path,
                    format_args!("{pen}{at:.0} {:.0}", top + height * (1.0 - value / highest)),
                );
                pen = "L";
            } else {
                pen = "M";
            }
        }
        put(
            svg,
            format_args!(
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n"
            ),
        );
    }
    for (at, ((name, line), colour)) in lines.iter().zip(COLOURS).take(legend).enumerate() {
        let row = top + height + 18.0 + 14.0 * at as f64;
        put(
            svg,
            format_args!(
                "<rect x=\"{left:.0}\" y=\"{:.0}\" width=\"10\" height=\"3\" fill=\"{colour}\"/>\n",
                row - 5.0
            ),
        );
        text(svg, left + 15.0, row, "", &escaped(name));
        text(svg, x + w - 12.0, row, "text-anchor=\"end\"", &shown(last(line), unit));
    }
}

fn states(svg: &mut String, Place(x, y, w, h): Place, lines: &[(String, Line)], panel: &Value) {
    let colours = &panel["fieldConfig"]["defaults"]["mappings"][0]["options"];
    let row = ((h - 34.0) / lines.len().max(1) as f64).min(34.0);
    for (at, (name, line)) in lines.iter().enumerate() {
        let top = y + 28.0 + row * at as f64;
        text(svg, x + 8.0, top + row / 2.0 + 3.0, "", &escaped(name));
        let (left, width) = (x + 260.0, w - 270.0);
        let step = width / line.points.len().max(1) as f64;
        for (at, run) in runs(&line.points) {
            let bad = if run.1 == 0.0 { "0" } else { "1" };
            let colour = if colours[bad]["color"] == "red" { "#c23b3b" } else { "#3a9a4b" };
            put(
                svg,
                format_args!(
                    "<rect x=\"{:.1}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\n",
                    left + step * at as f64,
                    step * run.0 as f64,
                    row - 4.0
                ),
            );
        }
    }
}

/// Where each run of a value begins, how long it is, and the value.
fn runs(points: &[(f64, f64)]) -> Vec<(usize, (usize, f64))> {
    let mut runs: Vec<(usize, (usize, f64))> = Vec::new();
    for (at, (_, value)) in points.iter().enumerate() {
        match runs.last_mut() {
            Some((_, (length, of))) if of == value => *length += 1,
            _ => runs.push((at, (1, *value))),
        }
    }
    runs
}

async fn table(svg: &mut String, Place(x, y, w, _): Place, panel: &Panel, prometheus: &Prometheus) {
    let rename = &panel.json["transformations"][1]["options"]["renameByName"];
    let overrides = panel.json["fieldConfig"]["overrides"].as_array().expect("a list");
    // A row for each worker or tenant: what is merged has the same first label.
    let mut rows: Vec<BTreeMap<String, String>> = Vec::new();
    let mut heads: Vec<String> = Vec::new();
    for (expression, letter) in panel.expressions().zip('A'..) {
        let column = rename[format!("Value #{letter}")].as_str();
        let unit = overrides.iter().find(|one| one["matcher"]["options"].as_str() == column);
        let unit = unit.and_then(|one| one["properties"][0]["value"].as_str()).unwrap_or("whole");
        for Sample { mut labels, value } in prometheus.query(&live::query(expression, "10s")).await
        {
            labels.remove("job");
            let new = |head: &&String| !heads.contains(head);
            heads.extend(labels.keys().filter(new).cloned().collect::<Vec<_>>());
            let same = |row: &&mut BTreeMap<_, _>| {
                column.is_some()
                    && labels.iter().take(1).all(|(label, value)| row.get(label) == Some(value))
            };
            let value = column
                .map(|column| (column.to_owned(), shown(value.parse().unwrap_or(f64::NAN), unit)));
            match rows.iter_mut().find(same) {
                Some(row) => row.extend(value),
                None => rows.push(labels.into_iter().chain(value).collect()),
            }
        }
        heads.extend(column.map(str::to_owned));
    }
    // Names come first, and want more room.
    let step = (w - 16.0) / (heads.len() as f64 + 0.8);
    let mut line = |at: usize, style: &str, cell: &dyn Fn(&String) -> String| {
        for (column, head) in heads.iter().enumerate() {
            let left = x + 8.0 + step * (column as f64 + if column == 0 { 0.0 } else { 0.8 });
            text(svg, left, y + 38.0 + 18.0 * at as f64, style, &escaped(&cell(head)));
        }
    };
    line(0, "fill=\"#777\"", &Clone::clone);
    for (at, row) in rows.iter().take(8).enumerate() {
        line(at + 1, "font-size=\"10\"", &|head| row.get(head).cloned().unwrap_or_default());
    }
}

/// A value with its unit, to three digits.
fn shown(value: f64, unit: &str) -> String {
    let rounded = |value: f64| match value {
        value if value == 0.0 || value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let scaled = |steps: &[(f64, &str)], suffix: &str| {
        let (by, word) = steps.iter().rev().find(|(by, _)| value >= *by).unwrap_or(&steps[0]);
        format!("{} {word}{suffix}", rounded(value / by))
    };
    match unit {
        "whole" => format!("{value:.0}"),
        "percentunit" => format!("{} %", rounded(value * 100.0)),
        "s" => {
            scaled(&[(0.001, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"), (86_400.0, "d")], "")
        }
        "bytes" => scaled(&[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB")], ""),
        "Bps" => scaled(&[(1.0, "B"), (1e3, "kB"), (1e6, "MB")], "/s"),
        "ops" | "reqps" => format!("{}/s", rounded(value)),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => rounded(value),
    }
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, text: &str) {
    put(svg, format_args!("<text x=\"{x:.0}\" y=\"{y:.0}\" {style}>{text}</text>\n"));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a string takes whatever is written to it");
}
