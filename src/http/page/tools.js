"use strict";
// Words and numbers for people, and a page that is written only where something has changed.
// Tenants, calls and reasons are foreign input: they become text, never HTML, and the page's policy
// (trusted types) would not have it otherwise.

const at = id => document.getElementById(id);

const whole = new Intl.NumberFormat("en-US");
const count = n => whole.format(n ?? 0);
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const perSecond = n => `${n < 99.95 ? n.toFixed(1) : count(Math.round(n))} /s`;

// Decimal, as networks and disks are counted.
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const magnitude = (n, unit = 0) => n >= 999.5 && unit < 5 ? magnitude(n / 1000, unit + 1) : unit;
const inUnits = (n, unit) => unit ? (n / 1000 ** unit).toFixed(1) : Math.round(n);
const bytes = (n = 0) => `${inUnits(n, magnitude(n))} ${UNITS[magnitude(n)]}`;
const mebibytes = n => Math.round(n / 2 ** 20); // as worker.memory is written
const bytesOf = (n = 0, all) => `${inUnits(n, magnitude(all))} of ${bytes(all)}`;

function duration(s) {
  if (s < 59.5) return `${s < 9.95 ? s.toFixed(1) : Math.round(s)} s`;
  s = Math.round(s);
  const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : `${m} min ${s % 60} s`;
}

// In one unit, where there is little room.
function brief(s) {
  const [n, unit] = s < 99.5 ? [s, "s"] : s < 5970 ? [s / 60, "min"]
    : s < 172800 ? [s / 3600, "h"] : [s / 86400, "d"];
  return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ${unit}`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

// RFC 3339 in UTC: the time, if it is of the day on which `now` is, else the day, too.
function time(text, now) {
  if (!text) return "";
  const today = text.slice(0, 10) === now.slice(0, 10);
  return today ? text.slice(11, 19) : `${day.format(new Date(text))} ${text.slice(11, 16)}`;
}

function say(node, text) {
  if (node.said !== text) node.textContent = node.said = text;
}
function style(node, name) {
  if (node.styled !== name) node.className = node.styled = name;
}
function mark(node, kind) {
  if (node.dataset.is !== kind) node.dataset.is = kind;
}
function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

// A piece of the page that stands in it as a template.
const piece = name => at(`t-${name}`).content.cloneNode(true);

// Rows that stay the same elements as long as their key is there, wherever they move. `fill` is told
// which have come since the last time.
function rows(body, name, items, key, fill) {
  const before = body.keyed, now = body.keyed = new Map();
  for (const item of items) {
    let id = key(item);
    while (now.has(id)) id += "\0"; // the same twice, as a redelivered call is
    const known = before?.get(id);
    const row = known ?? piece(name).firstElementChild;
    now.set(id, row);
    fill(row, item, before && !known);
  }
  before?.forEach((row, id) => now.get(id) !== row && row.remove());
  let here = body.firstElementChild;
  for (const row of now.values()) {
    if (row === here) here = here.nextElementSibling;
    else body.insertBefore(row, here);
  }
}
