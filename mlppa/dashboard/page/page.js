// Asks for what is to be seen once a second and shows it. All that comes from messages is put
// in as text, never as markup.
"use strict";

const ASK_MS = 1000, PATIENCE_MS = 4000;
// Nothing new for so long: what is on the page is old.
const OLD_MS = 6000;
// The gauge ends at one and a half times real time; its mark stands there in the style sheet.
const GAUGE_END = 1.5;
// A picture is drawn after its message: it is asked for so often, so far apart.
const TRIES = 8, TRY_MS = 1500;

const $ = (id) => document.getElementById(id);
let chosen = null;
let latest = null;
let newAt = performance.now();
let complaint = "";

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== null && text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Replaces what stands in a node only where it is another: a click must not fall between.
function fill(node, nodes, key) {
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.replaceChildren(...nodes);
}

// The same for a list of things: who stays keeps its node, and with it the focus.
function fillList(node, things, nameOf, build) {
  const old = new Map([...node.children].map((child) => [child.dataset.name, child]));
  const nodes = things.map((thing) => {
    const name = nameOf(thing);
    const child = old.get(name) ?? build(thing);
    child.dataset.name = name;
    return child;
  });
  const same = nodes.length === node.children.length && nodes.every((child, n) => child === node.children[n]);
  if (same) return;
  for (const child of [...node.children]) if (!nodes.includes(child)) child.remove();
  nodes.forEach((child, n) => { if (node.children[n] !== child) node.insertBefore(child, node.children[n] ?? null); });
}

const level = (node, state) => { node.dataset.level = latest.states[state]?.level ?? "none"; };
const isBad = (state) => latest.states[state]?.level === "bad";
// Of a stream that is gone the last words are no news.
const speaks = (one) => one.ratio !== undefined && !["no contact", "ended"].includes(one.state);

const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)}\u00a0%`;
const digits = (x) => String(Number(x.toPrecision(2)));
function seconds(s) {
  if (s < 1) return `${digits(1000 * s)}\u00a0ms`;
  return s < 100 ? `${digits(s)}\u00a0s` : `${Math.round(s / 60)}\u00a0min`;
}
function ago(s) {
  if (s < 90) return `${Math.max(0, Math.round(s))}\u00a0s\u00a0ago`;
  if (s < 5400) return `${Math.round(s / 60)}\u00a0min\u00a0ago`;
  return s < 172800 ? `${Math.round(s / 3600)}\u00a0h\u00a0ago` : `${Math.round(s / 86400)}\u00a0days\u00a0ago`;
}

function choose(name) {
  chosen = chosen === name ? null : name;
  ask();
}

function showStreams(now) {
  // what is wrong must not be out of sight
  const names = Object.keys(now.streams).sort((a, b) => isBad(now.streams[b].state) - isBad(now.streams[a].state));
  fillList($("streams"), names, (name) => name, (name) => {
    const button = make("button", name, { type: "button", "data-stream": name });
    button.addEventListener("click", () => choose(name));
    return button;
  });
  for (const button of $("streams").children) {
    const name = button.dataset.stream, one = now.streams[name];
    level(button, one.state);
    button.setAttribute("aria-pressed", String(now.chosen === name));
    const words = isBad(one.state) ? `${name}: ${one.state}` : name;
    if (button.textContent !== words) button.textContent = words;
    button.title = `${one.state}${one.news ? `: ${one.news}` : ""}`;
  }
}

function who(of, state) {
  const names = of.filter(([, one]) => one.state === state).map(([name]) => name);
  return names.length > 3 ? `${names.length} of ${of.length} streams` : names.join(", ");
}

function showPace(now, of) {
  const state = now.verdict;
  const { large, sentence } = now.states[state];
  if ($("verdict").textContent !== large) $("verdict").textContent = large;
  level($("verdict"), state);
  const live = of.filter(([, one]) => speaks(one));
  const ratio = Math.max(0, ...live.map(([, one]) => one.ratio));
  const backlog = Math.max(0, ...live.map(([, one]) => one.backlog_s ?? 0));
  const gauge = document.querySelector(".gauge");
  gauge.dataset.level = ratio > now.marks.ratio.bad || state === "late" ? "bad" : ratio > now.marks.ratio.warn ? "warn" : "good";
  gauge.firstElementChild.style.width = `${Math.min(100, (100 * ratio) / GAUGE_END)}%`;
  gauge.hidden = !live.length;
  const line = [];
  if (isBad(state)) line.push(`${who(of, state)}: ${sentence}`);
  if (live.length) line.push(`needs ${percent(ratio)} of real time`);
  else if (!isBad(state)) line.push(sentence);
  const latencies = live.map(([, one]) => one.latency_s).filter((x) => x !== null);
  if (latencies.length) line.push(`latency ${seconds(Math.max(...latencies))}`);
  if (backlog > 1) line.push(`${seconds(backlog)} of sky wait`);
  const down = live.filter(([, one]) => one.rung > 0);
  if (down.length > 2) line.push(`${down.length} of ${of.length} streams give something up`);
  else line.push(...down.map(([name, one]) => `${name}: ${one.rung_name}`));
  $("pace-line").textContent = line.join(" · ");
}

function showSense(now, of) {
  const known = of.filter(([, one]) => speaks(one)).map(([, one]) => one.recovered).filter((x) => x !== null);
  const node = $("recovered");
  node.textContent = known.length ? percent(Math.min(...known)) : "–";
  const worst = Math.min(...known), marks = now.marks.recovered;
  const blind = worst < marks.bad || of.some(([, one]) => one.state === "insensitive");
  node.dataset.level = !known.length ? "none" : blind ? "bad" : worst < marks.warn ? "warn" : "good";
  const gone = (fate) => of.reduce((sum, [, one]) => sum + one.sky_s[fate], 0);
  const all = Object.keys(latest.colours.fate).reduce((sum, fate) => sum + gone(fate), 0);
  const masked = Math.max(0, ...of.map(([, one]) => one.masked_channels ?? 0));
  const thresholds = of.map(([, one]) => one.threshold).filter((x) => x);
  const put = of.reduce((sum, [, one]) => sum + one.injected, 0);
  const line = [known.length ? "of clear pulses put in" : put ? `${put} pulses put in: too few to tell` : "no pulses are put in"];
  if (thresholds.length) line.push(`S/N from ${Math.max(...thresholds)}`);
  if (all) line.push(`${percent(gone("searched") / all)} of the sky searched${hour(of)}`);
  line.push(`${percent(masked)} of the band masked`);
  $("sense-line").textContent = line.join(" · ");
}

// Of live streams the last hour counts, of recorded ones all.
const hour = (of) => (of.some(([, one]) => one.ratio !== undefined) ? " in the last hour" : "");

function showFound(now, of) {
  const last = now.detections.find((one) => !one.injected);
  const count = of.reduce((sum, [, one]) => sum + one.found, 0);
  $("count").textContent = String(count);
  const when = last && ago(now.now_s - Date.parse(last.created) / 1000);
  const words = `${count === 1 ? "pulse" : "pulses"}${hour(of)}`;
  $("found-line").textContent = last ? `${words} · last: DM ${last.dm.toFixed(1)}, S/N ${last.snr.toFixed(1)}, ${when}` : words;
}

function thumb(one) {
  const frame = make("span", null, { class: "thumb" });
  frame.append(make("span", one.image ? "…" : "no picture"));
  if (one.image) picture(frame, one, 0);
  return frame;
}

// The DM-time image is a part of the picture: the rest lies outside of the frame.
function picture(frame, one, tries) {
  const image = make("img", null, { alt: `DM-time image of ${one.id}` });
  const [left, bottom, width, height] = latest.image_box;
  image.style.width = `${100 / width}%`;
  image.style.height = `${100 / height}%`;
  image.style.left = `${(-100 * left) / width}%`;
  image.style.top = `${(-100 * (1 - bottom - height)) / height}%`;
  image.addEventListener("load", () => frame.replaceChildren(image));
  image.addEventListener("error", () => {
    if (tries < TRIES) setTimeout(() => picture(frame, one, tries + 1), TRY_MS);
    else frame.firstElementChild.textContent = "no picture";
  });
  image.src = `${address(one)}${tries ? `?${tries}` : ""}`;
}

const address = (one) => `pictures/${one.source}/${encodeURIComponent(one.image)}`;

function card(one) {
  const button = make("button", null, { type: "button", "data-id": one.id, "data-injected": String(one.injected) });
  const words = make("span", null, { class: "card" });
  words.append(make("b", `DM ${one.dm.toFixed(1)}`), make("br"), `S/N ${one.snr.toFixed(1)}`, make("br"), `p ${one.probability.toFixed(3)}`);
  const where = one.injected ? "put in" : one.known_source ?? (one.source_name || "sky");
  words.append(make("small", `${one.stream}: ${where}`));
  button.append(thumb(one), words);
  button.addEventListener("click", () => open(one));
  const item = make("li");
  item.append(button);
  return item;
}

function showCards(now) {
  const things = now.detections.length ? now.detections : [null];
  const nameOf = (one) => (one ? JSON.stringify([one.source, one.stream, one.id]) : "none");
  fillList($("cards"), things, nameOf, (one) => (one ? card(one) : make("li", "none so far", { class: "empty" })));
}

function open(one) {
  const image = $("picture");
  image.removeAttribute("src");
  image.alt = one.image ? `Picture of ${one.id}` : "";
  if (one.image) image.src = address(one);
  const facts = Object.entries(one).filter(([name, value]) => value !== null && name !== "source");
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", name), make("dd", String(value))]));
  $("detail").showModal();
}

function showNow(of) {
  const timed = of.map(([, one]) => one).filter((one) => speaks(one) && one.budget_s > 0);
  timed.sort((a, b) => b.dt_s / b.budget_s - a.dt_s / a.budget_s);
  const [one] = timed;
  $("dt-now").textContent = one ? `now ${seconds(one.dt_s)} of ${seconds(one.budget_s)}` : "";
}

function showQueues(of) {
  const sums = {};
  for (const [, one] of of) for (const [name, depth] of Object.entries(one.queues ?? {})) sums[name] = (sums[name] ?? 0) + depth;
  const failing = [...new Set(of.flatMap(([, one]) => one.failing ?? []))];
  const nodes = Object.entries(sums).flatMap(([name, depth]) => [make("dt", name), make("dd", String(depth))]);
  nodes.push(...failing.flatMap((name) => [make("dt", name), make("dd", "fails", { "data-level": "bad" })]));
  if (!nodes.length) nodes.push(make("dt", "none"));
  fill($("queues"), nodes, JSON.stringify([sums, failing]));
}

function key(id, colours) {
  const nodes = Object.entries(colours).map(([name, colour]) => {
    const mark = make("i");
    mark.style.background = colour;
    const words = make("span");
    words.append(mark, name);
    return words;
  });
  fill($(id), nodes, JSON.stringify(colours));
}

const model = (name) => Bokeh.documents.map((one) => one.get_model_by_name(name)).find((one) => one);

function showPlots(now) {
  for (const [name, columns] of Object.entries(now.plots)) {
    const source = model(name);
    if (source) source.data = columns;
  }
  const figure = model("figure coverage");
  if (!figure) return;
  const rows = now.shown;
  figure.y_range.setv({ start: -0.5, end: Math.max(rows.length, 1) - 0.5 });
  const axis = model("streams");
  const some = rows.length > 16 ? [] : rows.map((_, n) => n);
  if (axis.ticker.ticks.join() !== some.join()) axis.ticker.ticks = some;
  const labels = new Map(some.map((n) => [n, rows[n].length > 14 ? `${rows[n].slice(0, 13)}…` : rows[n]]));
  if ([...labels.values()].join("\n") !== [...axis.major_label_overrides.values()].join("\n")) axis.major_label_overrides = labels;
  const start = Math.max(-now.past_minutes, Math.min(...now.plots.coverage.left, -1 / 6));
  for (const name of ["coverage", "dt"]) model(`figure ${name}`).x_range.start = start;
}

function show(now) {
  if (!now.streams) return;
  if (now.now_s !== latest?.now_s) newAt = performance.now();
  latest = now;
  const of = Object.entries(now.streams).filter(([name]) => now.shown.includes(name));
  showStreams(now);
  showPace(now, of);
  showSense(now, of);
  showFound(now, of);
  showCards(now);
  showQueues(of);
  showNow(of);
  key("key-fate", now.colours.fate);
  key("key-model", now.colours.model);
  showPlots(now);
  $("clock").textContent = `${new Date(1000 * now.now_s).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  document.title = `${now.states[now.verdict].large} – mlppa`;
}

// Whatever became of the last question: what stands here may be old.
function look() {
  const old = performance.now() - newAt > OLD_MS;
  document.documentElement.dataset.old = String(old);
  const words = old ? `${complaint || "mlppa dashboard stands still"}: what is here is old` : (latest?.faults ?? []).join("; ");
  if ($("trouble").textContent !== words) $("trouble").textContent = words;
  $("trouble").hidden = !words;
}

async function fetched() {
  const query = chosen === null ? "" : `?stream=${encodeURIComponent(chosen)}`;
  try {
    const answer = await fetch(`now.json${query}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    complaint = "";
    return await answer.json();
  } catch (error) {
    complaint = "mlppa dashboard does not answer";
    return null;
  }
}

async function ask() {
  const now = await fetched();
  if (now) show(now);
  look();
}

// Bokeh draws on a canvas, which knows nothing of style sheets.
function paint() {
  const style = getComputedStyle(document.documentElement);
  const [ink, faint, rule] = ["--ink", "--faint", "--rule"].map((name) => style.getPropertyValue(name));
  const size = matchMedia("(min-width: 1600px)").matches ? "15px" : "12px";
  for (const one of Bokeh.documents.flatMap((doc) => doc.roots())) {
    for (const axis of [...one.below, ...one.left]) {
      axis.setv({
        axis_label_text_color: faint, axis_label_text_font_style: "normal", axis_label_text_font_size: size,
        major_label_text_color: ink, major_label_text_font_size: size,
        axis_line_color: rule, major_tick_line_color: rule, minor_tick_line_color: null,
      });
    }
    for (const grid of one.center) if ("grid_line_color" in grid && grid.grid_line_color !== null) grid.grid_line_color = rule;
  }
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "light" : "dark";
  $("theme").setAttribute("aria-label", `Show it ${$("theme").textContent}`);
  paint();
}

async function begin() {
  let figures = null;
  while (figures === null) {
    try {
      figures = await (await fetch("figures.json")).json();
    } catch (error) {
      $("trouble").textContent = "mlppa dashboard does not answer: it is asked again";
      $("trouble").hidden = false;
      await new Promise((again) => setTimeout(again, TRY_MS));
    }
  }
  for (const [name, item] of Object.entries(figures)) await Bokeh.embed.embed_item(item, name);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("theme");
  setTheme(asked ?? localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  });
  $("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
  document.documentElement.dataset.ready = "true";
  await ask();
  setInterval(ask, ASK_MS);
  setInterval(look, ASK_MS);
}

begin();
