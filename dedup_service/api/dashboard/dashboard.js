"use strict";
// Everything that comes from the API is put into the page as text: names and sources are what devices say they are.

const REFRESH_MS = 2000;
const TOGETHER_MS = 60000;
const LINES = 12;
const STATE_WORDS = {
  full: "all replicas are sending", degraded: "redundancy is reduced", "at-risk": "one replica is left",
  silent: "no replica is sending", empty: "nothing has been received yet",
};
const STATE_CLASS = { full: "good", degraded: "warn", "at-risk": "bad", silent: "bad", empty: "warn" };
let refreshedAt = 0;
let together = { items: [], askedAt: 0 };

const byId = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function ask(path) {
  const token = sessionStorage.getItem("token");
  const answer = await fetch(`v1/${path}`, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  byId("login").hidden = answer.status !== 401;
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `HTTP ${answer.status}`);
  return answer.json();
}

const count = (n) => n.toLocaleString("en");
const perSecond = (x) => (x < 10 ? x.toFixed(1) : count(Math.round(x)));
const share = (x) => (x === null ? "–" : `${(Math.floor(x * 1000) / 10).toFixed(1)} %`);
const shareOf = (figures, x) => (figures.complete ? share(x) : "incomplete");
const milliseconds = (ms) => (ms === null ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : span(ms / 1000));

function span(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

const clock = (ms) => new Date(ms).toLocaleTimeString();
const numberCell = (text, extra = "") => element("td", { className: `number ${extra}`, textContent: text });
const cell = (text, extra = "") => element("td", { className: extra, textContent: text });

// --- parts of the page

function showTable(id, headings, rows, nothing) {
  const head = element("tr", {}, ...headings.map(([text, kind]) => element("th", { textContent: text, className: kind || "" })));
  const body = rows.length ? rows : [element("tr", {}, element("td", { textContent: nothing, colSpan: headings.length, className: "faint" }))];
  byId(id).replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

function groupCard(group) {
  const day = group.figures["24h"];
  const facts = [
    [`unique readings per second${group.rate === null ? "" : `, ${group.rate.seconds} s`}`, group.rate === null ? "–" : perSecond(group.rate.readings_per_second)],
    ["from a single replica, 15 min", shareOf(group.figures["15m"], group.figures["15m"].sole_source_share)],
    ["lost by every replica, 24 h", count(day.missing)],
    ["conflicts, 24 h", count(day.conflicts)],
    ["came late, 24 h", count(day.late)],
    ["window / spread of copies", `${span(group.window_seconds)} / ${milliseconds(day.spread_p999_ms)}`],
    ["mode", group.mode],
  ];
  const list = facts.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]);
  return element("article", { className: `group ${STATE_CLASS[group.state]}` },
    element("div", { className: "faint", textContent: group.group }),
    element("div", { className: "level", textContent: `${group.live_replicas} of ${group.expected_replicas}` }),
    element("div", { className: `${STATE_CLASS[group.state]}-text`, textContent: STATE_WORDS[group.state] }),
    element("dl", {}, ...list));
}

function coverageCell(figures) {
  const x = figures.coverage;
  const level = x === null || x >= 0.99 ? "" : x >= 0.9 ? "warn" : "bad";
  const fill = element("i", { className: level });
  fill.style.width = `${(x || 0) * 100}%`;
  return element("td", {}, element("span", { className: "bar" }, fill), shareOf(figures, x));
}

function replicaRow(replica) {
  const now = replica.figures["15m"], silent = replica.state === "silent";
  return element("tr", { className: silent ? "bad" : "" },
    cell(`${silent ? "●" : "○"} ${replica.state}${silent ? ` for ${span(replica.silent_seconds)}` : ""}`, silent ? "" : "good-text"),
    cell(replica.replica), cell(replica.group),
    coverageCell(now),
    numberCell(shareOf(now, now.first_share)), numberCell(milliseconds(now.lag_p50_ms)), numberCell(milliseconds(now.lag_p99_ms)),
    numberCell(count(replica.figures["24h"].sole)),
    numberCell(count(replica.figures["24h"].conflicts), replica.figures["24h"].conflicts ? "warn-text" : ""));
}

function showReplicas(replicas) {
  const headings = [["state"], ["replica"], ["group"], ["coverage, 15 min"], ["first, 15 min", "number"], ["behind, median", "number"],
    ["behind, 99 %", "number"], ["only it, 24 h", "number"], ["conflicts, 24 h", "number"]];
  const ordered = [...replicas].sort((a, b) => (a.state < b.state ? 1 : a.state > b.state ? -1 : a.replica.localeCompare(b.replica)));
  showTable("replicas", headings, ordered.map(replicaRow), "No copy of a reading has been received yet.");
}

// The page shows what was finished since the first copy, or in the last hour, by the time at which it was.
function flowPoints(flow) {
  const sums = new Map();
  for (const step of Object.values(flow).flat()) {
    const sum = sums.get(step.start_ms) || { start: step.start_ms, end: 0, copies: 0, readings: 0, duplicates: 0 };
    sum.end = Math.max(sum.end, step.start_ms + step.seconds * 1000);
    for (const name of ["copies", "readings", "duplicates"]) sum[name] += step[name] / step.seconds;
    sums.set(step.start_ms, sum);
  }
  return [...sums.values()].sort((a, b) => a.start - b.start);
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function showFlow(flow, entries, rate) {
  const points = flowPoints(flow);
  byId("rate").textContent = rate === null ? "waiting for readings" : `now: ${perSecond(rate.readings_per_second)} unique, ${perSecond(rate.copies_per_second)} copies (over ${rate.seconds} s)`;
  byId("flow").hidden = !points.length;
  if (!points.length) return;
  const from = points[0].start, to = points[points.length - 1].end;
  const top = Math.max(1, ...points.map((point) => point.copies));
  const x = (ms) => (((Math.min(Math.max(ms, from), to) - from) / (to - from)) * 600).toFixed(1);
  const y = (value) => (100 - (value / top) * 96).toFixed(1);
  const line = (name) => points.map((point, i) => `${i ? "L" : "M"}${x(point.start)} ${y(point[name])}L${x(point.end)} ${y(point[name])}`).join("");
  const svg = svgElement("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img", "aria-label": `at most ${top.toFixed(0)} copies per second` });
  for (const entry of entries) {
    const end = entry.lasts ? to : entry.ended_ms;
    if (end < from || entry.began_ms > to || entry.is_good) continue;
    svg.append(entry.lasts || entry.ended !== null
      ? svgElement("rect", { class: "spell", x: x(entry.began_ms), width: Math.max(1, x(end) - x(entry.began_ms)), y: 0, height: 100 })
      : svgElement("line", { x1: x(entry.began_ms), x2: x(entry.began_ms), y1: 0, y2: 100 }));
  }
  for (const [kind, name] of [["input", "copies"], ["dup", "duplicates"], ["clean", "readings"]]) svg.append(svgElement("path", { class: kind, d: line(name) }));
  const scale = element("div", { className: "scale" },
    element("span", { textContent: clock(from) }),
    element("span", { textContent: `top of the scale: ${perSecond(top)} per second` }),
    element("span", { textContent: clock(to) }));
  byId("flow").replaceChildren(svg, scale);
}

function timelineRow(entry) {
  const times = entry.times > 1 ? `, ${count(entry.times)} times until ${clock(entry.ended_ms === null ? Date.now() : entry.ended_ms)}` : "";
  const ended = entry.ended === null ? "" : `${clock(entry.ended_ms)} ${entry.ended}`;
  return element("tr", { className: entry.lasts ? "bad" : "" }, cell(clock(entry.began_ms), "when"),
    cell(`${entry.text}${times}`, entry.is_good ? "faint" : ""), cell(entry.lasts ? "lasts" : ended, entry.lasts ? "bad-text" : "good-text"));
}

function showTimeline(entries) {
  showTable("timeline", [["when"], ["what happened"], ["how it ended"]], entries.map(timelineRow), "Nothing yet.");
}

function partitionRow(partition) {
  const late = partition.owner === null || partition.lag_seconds > 30;
  return element("tr", { className: late ? "bad" : "" }, cell(partition.partition), cell(partition.owner || "nobody"),
    numberCell(partition.sequence_number < 0 ? "–" : count(partition.sequence_number)), numberCell(span(partition.lag_seconds)));
}

function showLists(partitions, gaps, conflicts, letters) {
  showTable("partitions", [["partition"], ["owner"], ["finished", "number"], ["behind", "number"]], partitions.map(partitionRow), "None.");
  showTable("gaps", [["noticed"], ["source"], ["numbers"], ["lost", "number"]], gaps.items.slice(0, 10).map((gap) => element("tr", {},
    cell(clock(gap.found_ms)), cell(gap.source), cell(gap.first === gap.last ? `${gap.first}` : `${gap.first} – ${gap.last}`),
    numberCell(count(gap.missing), "bad-text"))), "None. Only sources that number their readings can be watched.");
  showTable("conflicts", [["enqueued"], ["replica"], ["source"], ["winner"]], conflicts.slice(0, 10).map((item) => element("tr", {},
    cell(clock(item.enqueued_ms)), cell(item.replica), cell(item.source), cell(item.winner_replicas.join(", ")))), "None.");
  showTable("dead-letters", [["enqueued"], ["replica"], ["reason"], ["readings", "number"]], letters.slice(0, 10).map((item) => element("tr", {},
    cell(clock(item.enqueued_ms)), cell(item.replica), cell(item.reason, "warn-text"), numberCell(count(item.readings)))), "None.");
}

function rebuildText(rebuild) {
  const left = rebuild.seconds_left === null ? "" : `, ${span(rebuild.seconds_left)} left`;
  const effect = rebuild.live_data === "paused" ? "Live data is paused for seconds; nothing is lost."
    : "Live data goes on; older copies, and those without a time, wait for the rest.";
  return `Redis forgot at ${clock(rebuild.forgot_ms)}, or was new then. Claims are read back from the clean stream: ${Math.floor(rebuild.share * 100)} %${left}. ${effect}`;
}

function showAlerts(stats, groups, replicas, beyond) {
  const alerts = [];
  if (stats.rebuild) alerts.push([stats.rebuild.live_data === "paused" ? "bad" : "warn", rebuildText(stats.rebuild)]);
  for (const [what, problem] of Object.entries(stats.paused)) alerts.push(["bad", `${what} is unavailable: ${problem}. Nothing is lost; processing waits.`]);
  if (stats.figures_since_ms !== null) alerts.push(["warn", `Figures since ${new Date(stats.figures_since_ms).toLocaleString()}: Redis forgot what it had counted before.`]);
  for (const replica of replicas) {
    if (replica.state === "silent") alerts.push(["bad", `${replica.replica} (${replica.group}) is silent for ${span(replica.silent_seconds)}.`]);
  }
  for (const item of beyond) alerts.push(["warn", `${item.group}: ${count(item.copies)} copies in 24 h are of sources beyond DEDUP_MAX_SOURCES. They are deduplicated and counted together (${count(item.readings)} readings); their sources are not listed, and their gaps are not seen.`]);
  for (const group of groups) {
    const unseen = group.expected_replicas - replicas.filter((r) => r.group === group.group).length;
    if (unseen > 0 && group.state !== "empty") alerts.push(["warn", `${unseen} expected replica${unseen > 1 ? "s" : ""} of ${group.group} never sent anything.`]);
    if (group.window_state !== "wide") alerts.push(["warn", `${group.group}: copies come up to ${milliseconds(group.figures["24h"].spread_p999_ms)} apart, and the window is ${span(group.window_seconds)}. Later copies would be published twice: make it longer.`]);
  }
  const { used_bytes: used, limit_bytes: limit, projected_claims_bytes: projected, evicted_keys: evicted } = stats.redis;
  if (limit && Math.max(used, projected) > 0.8 * limit) alerts.push(["warn", `Redis: ${share(used / limit)} of its memory is used, and a full window of claims needs ${share(projected / limit)}.`]);
  if (evicted) alerts.push(["bad", `Redis has evicted ${count(evicted)} keys: duplicates may have reached the clean stream.`]);
  byId("alerts").replaceChildren(...alerts.map(([level, text]) => element("p", { className: level, textContent: text })));
}

// Read rarely, since it adds up a day of each group, and changes slowly.
async function countedTogether() {
  if (Date.now() - together.askedAt >= TOGETHER_MS) {
    together = { items: (await ask("sources?limit=1")).counted_together, askedAt: Date.now() };
  }
  return together.items;
}

// --- refreshing

async function refresh() {
  try {
    const [stats, groups, replicas, partitions, gaps, conflicts, letters, flow, timeline] = await Promise.all(
      ["stats", "groups", "replicas", "partitions", "gaps?limit=10", "conflicts?limit=10", "dead-letters?limit=10", "flow", `timeline?limit=${LINES}`].map(ask));
    showAlerts(stats, groups, replicas, await countedTogether());
    byId("groups").replaceChildren(...groups.map(groupCard));
    showReplicas(replicas);
    showFlow(flow, timeline.items, stats.rate);
    showTimeline(timeline.items);
    showLists(partitions, gaps, conflicts, letters);
    byId("pods").textContent = `version ${stats.version} · ${stats.pods.length} pod${stats.pods.length === 1 ? "" : "s"}`;
    refreshedAt = Date.now();
    byId("freshness").textContent = `as of ${clock(stats.now_ms)}`;
    byId("freshness").className = "faint";
  } catch (error) {
    const since = refreshedAt ? `what you see is ${span((Date.now() - refreshedAt) / 1000)} old` : "nothing to show yet";
    byId("freshness").textContent = `no answer (${error.message}); ${since}`;
    byId("freshness").className = "bad-text";
  } finally {
    setTimeout(refresh, REFRESH_MS);
  }
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
});
refresh();
