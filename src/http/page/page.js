// The page: it asks `api/status` each second, the next time only after the last answer is there, and
// shows it from top to bottom in the order of the questions that its headings are.

const EVERY = 1000, HIDDEN = 5000, PATIENCE = 4000, SLOWEST = 2500; // ms
const OLD = 3; // seconds without an answer that are worth a word
const FEW = { servers: 8, jobs: 10, tenants: 25, failures: 10 }; // rows until 'show all'

// The first few of a list, and a button for the rest.
const unfolded = new Set();
function few(name, items, least = 0) {
  const button = at(`${name}-all`), most = Math.max(FEW[name], least), all = unfolded.has(name);
  show(button, items.length > most);
  say(button, all ? "Show fewer" : `Show all ${count(items.length)}`);
  return all ? items : items.slice(0, most);
}
for (const name of Object.keys(FEW)) {
  at(`${name}-all`).addEventListener("click", () => {
    if (!unfolded.delete(name)) unfolded.add(name);
    redraw();
  });
}

// ---- Is it well?

const ILL = { down: 0, refused: 1, unknown: 2, well: 2 };
const KINDS = { ccfs: "CC-FS" };
const kind = server => KINDS[server.kind] ?? server.kind;
const place = server => server.target.replace(/^(ccfs|store):/, "");

function sentence(s) {
  const since = of => of.since ? ` since ${time(of.since, s.now)} UTC` : "";
  const because = s.reason ? `: ${s.reason}` : "";
  switch (s.status) {
    case "consuming": break;
    case "paused": return ["wait", `Paused${since(s)}${because}`];
    case "connecting": return ["bad", `Not consuming${since(s)}, connecting to the broker${because}`];
    case "draining": return ["wait", `Stopping${since(s)}${because}`];
    default: return ["unknown", `${s.status}${since(s)}${because}`];
  }
  const ill = s.servers.filter(server => ILL[server.state] < 2), refused = s.refused.length;
  let but;
  if (ill.length) {
    const [first] = ill, more = ill.length - 1;
    const host = place(first).replace(/^https?:\/\//, "");
    const name = first.kind === "events" ? "the events' exchange" : `${kind(first)} ${host}`;
    but = `but ${name} ${first.state === "down" ? "is down" : "refuses us"}${since(first)}`;
    if (more) but += `, and ${plural(more, "more server is", "more servers are")} in trouble`;
  } else if (refused) {
    but = `but ${plural(refused, "key is", "keys are")} refused`;
  } else if (s.warning) {
    but = `but ${s.warning}`;
  }
  if (!but) return ["ok", `Consuming${since(s)}. All is well`];
  return [ill.length ? "bad" : "wait", `Consuming${since(s)}, ${but}`];
}

function well(s) {
  const [state, text] = sentence(s);
  mark(at("sentence").firstElementChild, state);
  say(at("said"), `${text.replace(/\.$/, "")}.`);
  document.title = `${{ ok: "well" }[state] ?? (s.status === "consuming" ? "trouble" : s.status)} · callvault`;

  const notes = s.refused.slice(0, 10).map(r =>
    `${r.target} refuses its key since ${time(r.since, s.now)} UTC: ${r.reason}, ${r.detail}`);
  const more = s.refused.length - notes.length;
  if (more) notes.push(`and ${count(more)} more refuse theirs`);
  if (s.warning) notes.unshift(s.warning);
  if (s.moreServers) notes.push(`${plural(s.moreServers, "server")} more than are shown; trouble comes first`);
  show(at("notes"), notes.length > 0);
  rows(at("notes"), "notes", notes, note => note, say);

  const ill = s.servers.filter(server => server.state !== "well").length;
  const shown = few("servers", s.servers, Math.min(ill, 40));
  rows(at("servers").tBodies[0], "servers", shown, server => server.target, (row, server) => {
    const [name, state, since, trouble] = row.cells;
    say(name.children[0], kind(server));
    say(name.children[1], place(server));
    mark(state.children[0], { well: "ok", down: "bad", refused: "bad" }[server.state] ?? "unknown");
    say(state.children[1], server.state === "unknown" ? "not asked yet" : server.state);
    style(state.children[1], ILL[server.state] < 2 ? "bad" : "");
    say(since, time(server.since, s.now));
    const { at: when, reason = "", detail = "" } = server.lastTrouble ?? {};
    style(trouble, when ? "" : "less");
    say(trouble.children[0], when ? time(when, s.now) : "none");
    say(trouble.children[1], reason);
    say(trouble.children[2], detail);
  });
}

// ---- How fast, and is it keeping up?

const archived = new Panel("p-archived", "Recordings archived each second", 1, perSecond);
const stored = new Panel("p-stored", "Bytes stored each second", 1e5, n => `${bytes(n)}/s`);
const lag = new Panel("p-lag", "Archive lag, median and 95th percentile", 1, brief, ["p50", "p95"], scaleOfTime);
const backlog = new Panel("p-backlog", "Messages ready, of calls and of dumps", 10, n => count(Math.round(n)),
  ["calls", "dumps"]);

// Of `callvault.retry.30s`, `callvault`; of a prefix with dots, too.
const prefix = queue => queue.replace(/\.(jobs|bulk|suspect|dead|redrive|retry\.[^.]+)$/, "");

// In the order in which a message may pass through them.
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };
function turn(queue) {
  const [, n, unit] = /\.retry\.(\d+)([smhd])/.exec(queue) ?? [];
  if (n) return 2 + n * SECONDS[unit];
  return { jobs: 0, bulk: 1 }[/[^.]+$/.exec(queue)?.[0]] ?? (/\.dead$/.test(queue) ? 1e9 + 1 : 1e9);
}

// The number large, its unit small.
const apart = text => text.split(/(?= [^\d])/);

function speed(s) {
  const past = { queues: {}, ...s.history, drawn: `${s.startedAt} ${s.history?.until}` };
  const highest = (values, unit) => values?.length ? `highest ${unit(most(values))}` : "";
  for (const [panel, now, values] of [
    [archived, s.rates.archivedPerSecond, past.archivedPerSecond],
    [stored, s.rates.storedBytesPerSecond, past.storedBytesPerSecond],
  ]) panel.show(apart(panel.unit(now)), highest(values, panel.unit), past, values);

  const { p50Seconds: half, p95Seconds: late } = s.lag ?? {};
  const [[n, unit], [m, of]] = [half ?? 0, late ?? 0].map(s => apart(brief(s)));
  lag.show(s.lag ? [n, `${unit} p50 `, ` ${m}`, `${of} p95`] : ["–"],
    s.lag ? "p95 is dashed" : "of no call in this minute", past,
    past.lagP50Seconds, past.lagP95Seconds);

  const named = end => past.queues[s.queues.find(({ queue }) => queue.endsWith(end))?.queue];
  const { messages, secondsLeft } = s.backlog ?? {};
  const later = s.queues.filter(({ queue }) => /\.retry\.[^.]+$/.test(queue))
    .reduce((all, { messages }) => all + messages, 0);
  const ends = messages === undefined ? "the broker does not say"
    : !messages ? (later ? `${count(later)} to be tried again` : "nothing waits")
    : secondsLeft !== undefined ? `gone in ${brief(secondsLeft)} at this rate`
    : messages < 10 * s.rates.archivedPerSecond ? "less than ten seconds' work" : "it does not shrink";
  const ready = messages === undefined ? ["–"] : apart(plural(messages, "message"));
  backlog.show(ready, ends, past, named(".jobs"), named(".bulk"));

  // Their common beginning is said once.
  const ours = s.queues.length ? prefix(s.queues[0].queue) : "";
  const common = s.queues.every(({ queue }) => queue.startsWith(`${ours}.`));
  show(at("queues-head"), s.queues.length > 0);
  say(at("queues-head"), `Messages ready in each queue${common ? ` of ${ours}` : ""}`);
  const ordered = s.queues.map(q => [turn(q.queue), q]).sort(([a], [b]) => a - b).map(([, q]) => q);
  rows(at("queues"), "queues", ordered, ({ queue }) => queue, (row, { queue, messages }) => {
    const [name, ready, spark] = row.children;
    say(name, common ? queue.slice(ours.length + 1) : queue);
    say(ready, count(messages));
    style(ready, !messages ? "nil" : /\.(dead|suspect)$/.test(queue) ? "bad" : "");
    if (spark.drawn === past.drawn) return;
    spark.drawn = past.drawn;
    draw(spark, scale(10, most(past.queues[queue])), past.queues[queue]);
  });
}

// ---- What is it doing?

const STEPS = { waiting: "about to begin", download: "coming down", proof: "being proven",
  upload: "going up", announce: "being announced", expand: "being taken apart" };
let kept = 0; // rows whose place is kept for a while, so that what stands below does not jump

function doing(s) {
  const steps = new Map();
  for (const { step } of s.jobs) steps.set(step, (steps.get(step) ?? 0) + 1);
  const each = [...steps].sort(([, a], [, b]) => b - a).map(([step, n]) => `${count(n)} ${STEPS[step] ?? step}`);
  const these = s.jobsInFlight > s.jobs.length ? `; of the oldest ${count(s.jobs.length)} ` : ": ";
  const flying = s.jobsInFlight ? plural(s.jobsInFlight, "job") + these + each.join(", ") : "Nothing is in flight";
  const { inUseBytes, limitBytes } = s.buffers;
  say(at("in-flight"), `${flying}. Buffers hold ${mebibytes(inUseBytes)} of ${mebibytes(limitBytes)} MiB.`);

  const shown = few("jobs", s.jobs);
  rows(at("jobs").tBodies[0], "jobs", shown, job => `${job.tenant}\0${job.call}`, (row, job) => {
    const [tenant, call, step, moved, spent, tries] = row.cells, known = job.size > 0;
    say(tenant, job.tenant ?? "unknown");
    say(call.children[0], job.call ?? "–");
    show(call.children[1], job.live === false);
    say(step, job.step);
    const [bar, text] = moved.children;
    style(bar, known ? "bar" : "bar open");
    const part = known ? Math.min(1, (job.bytes ?? 0) / job.size).toFixed(3) : 0;
    bar.firstElementChild.style.setProperty("--part", part);
    say(text, known ? bytesOf(job.bytes, job.size) : job.bytes ? bytes(job.bytes) : "–");
    say(spent, brief(job.seconds));
    style(tries, job.tries > 1 ? "n wait" : "n nil");
    say(tries, count(job.tries));
  });
  kept = Math.max(shown.length, kept - .05);
  show(at("jobs-frame"), kept > 0);
  at("jobs-frame").style.minHeight = `calc(${Math.ceil(kept) + 1} * var(--row))`;
}

// ---- Who has trouble?

const BLOCK = 25; // rows
let ranks = new Map();
let reading = false; // rows that are pointed at keep their places
at("tenants").addEventListener("pointerenter", () => { reading = true; });
at("tenants").addEventListener("pointerleave", () => { reading = false; });

// An open breaker and a refused key are of now, dead messages are for ever; then what is tried again.
function ranked(s) {
  const refusing = new Set(s.refused.map(({ target }) => target));
  // Messages of tenants that are not configured have a row once there are any.
  const tenants = s.tenants.filter(t => t.id !== "unknown" || Object.values(t).some(n => n > 0));
  const all = tenants.map((t, i) => {
    const now = t.breaker === "open" ? "breaker open" : refusing.has(`ccfs:${t.id}`) ? "refused" : "";
    return { t, i, now, trouble: [now ? 1 : 0, t.failed ?? 0, t.retried ?? 0, t.absent ?? 0] };
  });
  if (reading && all.every(({ t }) => ranks.has(t.id))) {
    return all.sort((a, b) => ranks.get(a.t.id) - ranks.get(b.t.id));
  }
  all.sort((a, b) => {
    const differ = a.trouble.findIndex((n, i) => n !== b.trouble[i]);
    return differ < 0 ? a.i - b.i : b.trouble[differ] - a.trouble[differ];
  });
  ranks = new Map(all.map(({ t }, rank) => [t.id, rank]));
  return all;
}

function who(s) {
  const wanted = at("filter").value.trim().toLowerCase();
  const all = ranked(s), tenants = plural(all.length, "tenant");
  const found = wanted ? all.filter(({ t }) => t.id.toLowerCase().includes(wanted)) : all;
  const ill = all.filter(({ trouble: [now, dead] }) => now || dead).length;
  say(at("tenants-count"), wanted ? `${count(found.length)} of ${tenants}`
    : `${tenants}, ${ill ? `${count(ill)} in trouble or with dead messages` : "none in trouble"}`);
  const shown = few("tenants", found);
  blocks(Math.ceil(shown.length / BLOCK)).forEach((block, i) => {
    rows(block, "tenants", shown.slice(i * BLOCK, (i + 1) * BLOCK), ({ t }) => t.id, fillTenant);
  });
}

// Rows stand in blocks, of which those that are not seen need not be laid out.
function blocks(wanted) {
  const table = at("tenants"), all = table.tBodies;
  while (all.length < wanted) table.append(all[0].cloneNode());
  while (all.length > Math.max(1, wanted)) all[all.length - 1].remove();
  return [...all];
}

const LESS = new Set([2, 4, 5, 7]); // columns that a phone leaves out
function fillTenant(row, { t, now }) {
  const [name, state, ...numbers] = row.cells;
  say(name, t.id);
  say(state, now || (t.paused ? "paused" : ""));
  style(state, now ? "bad" : "dim");
  const values = [t.failed, t.retried, t.absent, t.archived, t.alreadyArchived, t.storedBytes, t.inFlight, t.limit];
  numbers.forEach((cell, i) => {
    const value = values[i], less = LESS.has(i) ? "n less" : "n";
    say(cell, i === 5 && value ? bytes(value) : i === 7 && !value ? "–" : count(value));
    style(cell, value ? i === 0 ? `${less} bad` : less : `${less} nil`);
  });
}

const filter = at("filter");
filter.addEventListener("input", redraw);
document.addEventListener("keydown", event => {
  if (event.key === "/" && event.target !== filter && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && event.target === filter) {
    filter.value = "";
    redraw();
  }
});

// ---- What failed?

function failed(s) {
  show(at("no-failures"), !s.failures.length);
  show(at("failures-frame"), s.failures.length > 0);
  const key = f => `${f.at}\0${f.tenant}\0${f.call}\0${f.reason}`;
  rows(at("failures").tBodies[0], "failures", few("failures", s.failures), key, (row, f, fresh) => {
    if (fresh) row.classList.add("new");
    const [when, tenant, call, why, text] = row.cells;
    say(when, time(f.at, s.now));
    say(tenant, f.tenant ?? "unknown");
    say(call, f.call ?? "–");
    say(why.children[0], f.outcome);
    style(why.children[0], `outcome ${{ dead: "bad", retried: "wait" }[f.outcome] ?? ""}`);
    say(why.children[1], f.reason);
    say(why.children[2], f.detail ?? "");
    say(text.children[0], f.meaning);
    say(text.children[1], f.advice);
  });
}

// ---- All of it

function redraw() {
  const s = last;
  if (!s) return;
  for (const part of [well, speed, doing, who, failed]) part(s);
  const m = s.messages;
  say(at("where"), `${location.host}, ${s.version} (${s.revision}), running for ${brief(s.uptimeSeconds)}`);
  say(at("ledger"), `${count(m.received)} messages received = ${count(m.acknowledged)} acknowledged`
    + ` + ${count(m.givenBack)} given back + ${count(m.inFlight)} in flight`);
}

// ---- Asking

let last, heard = performance.now(), misses = 0, timer, asking = false;

// What is left out of an answer because there is nothing to say.
const complete = s => ({ refused: [], servers: [], queues: [], jobs: [], tenants: [], failures: [], ...s });

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const began = performance.now();
  const answer = await answered();
  misses = answer ? 0 : misses + 1;
  const pause = misses ? Math.min(SLOWEST, EVERY * 2 ** (misses - 1)) : document.hidden ? HIDDEN : EVERY;
  timer = setTimeout(ask, Math.max(100, pause - (performance.now() - began)));
  asking = false;
  if (answer) take(complete(answer));
  age();
}

async function answered() {
  try {
    const answer = await fetch("api/status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    return answer.ok ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}

function take(s) {
  // A worker of another build has another page.
  if (last && (last.version !== s.version || last.revision !== s.revision)) return location.reload();
  s.servers.sort((a, b) => ILL[a.state] - ILL[b.state]);
  last = s;
  heard = performance.now();
  redraw();
}

// What stands on the page is as old as the last answer, and the page says so.
function age() {
  const seconds = (performance.now() - heard) / 1000, old = seconds >= OLD;
  document.documentElement.toggleAttribute("data-old", old);
  const since = last ? `since ${time(last.now, last.now)} UTC: what stands below is old` : "yet";
  const ago = old ? `, ${duration(Math.floor(seconds)).replace(".0", "")} old` : "";
  if (last) say(at("as-of"), `as of ${time(last.now, last.now)} UTC${ago}`);
  if (!old) return;
  mark(at("sentence").firstElementChild, "bad");
  say(at("said"), `No answer from the worker ${since}.`);
  document.title = "no answer · callvault";
}

setInterval(age, 1000);
for (const [target, event] of [[document, "visibilitychange"], [window, "online"]]) {
  target.addEventListener(event, () => document.hidden || ask());
}
ask();
