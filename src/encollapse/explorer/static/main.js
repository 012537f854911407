// The page: state in the address, one request a change, every picture from its answer.

import { drawLine, drawMatrix, drawSpectrum, largest, pixels, xOf } from "./charts.js";
import { buildControls, showErrors, syncControls } from "./controls.js";
import { Decay } from "./decay.js";
import { Designer } from "./design.js";
import { Dynamics } from "./dynamics.js";
import { Frame } from "./frame.js";
import { Runs } from "./runs.js";
import { decayOf, positionOf, readAddress, store, value, writeAddress } from "./store.js";
import { listenForTips, makeTermsReachable } from "./tips.js";
import { Lane, get } from "./requests.js";
import { $, digits, el, save, symbols, unpack } from "./tools.js";
import { equipPanels } from "./panels.js";
import { makeTour } from "./tour.js";

const VIEWS = ["explore", "dynamics", "design", "runs"];
const TYPING = 180; // milliseconds after which typing has paused

const shown = { picture: null, line: null, points: [], lineKey: "", t: null };
let held = null; // threshold that decays have yet to be brought to, after a change of the classes
const frame = new Frame($("frame"), hoverMean);
const beside = new Frame($("beside-frame"));
frame.follow(beside);
const lanes = {
  picture: new Lane("/api/picture", receivePicture, true),
  line: new Lane("/api/line", receiveLine),
  snippets: new Lane("/api/snippets", receiveSnippets),
};
const decay = new Decay({ change, refresh: () => refresh(), busy: () => lanes.picture.busy });
let designer = null;
let dynamics = null;
let runs = null;
let snippet = "python";
let copies = {};

const painted = (what) => requestAnimationFrame(() => setTimeout(() => document.dispatchEvent(new CustomEvent("painted", { detail: what })), 0));

// State

/** Change one control. `soon` waits for the typing to pause; what waits is taken along by any other change. */
const typed = { timer: null, values: {} };
function change(name, text, soon = false) {
  clearTimeout(typed.timer);
  if (soon) {
    typed.values[name] = text;
    typed.timer = setTimeout(() => change(name, text), TYPING);
    return;
  }
  const changed = [name, ...Object.keys(typed.values)];
  Object.assign(store.values, typed.values);
  typed.values = {};
  if (name === "encoding" && text !== value("encoding")) {
    for (const key of Object.keys(store.values)) if (key.startsWith("option.")) delete store.values[key];
  }
  store.values[name] = text;
  const bound = value("recipe") !== "none";
  if (bound && (name === "recipe" || name === "weight_decay")) store.values.bias_decay = value("weight_decay");
  if (changed.some((one) => OF_CLASSES.test(one)) && $("hold").checked) held ??= shown.t;
  if (changed.some((one) => DECAYS.includes(one))) held = null;
  refresh({ bound });
}

/** Controls that decide how many classes and samples there are, and with them the threshold. */
const OF_CLASSES = /^(classes|counts|samples|imbalance|typed|encoding|matrix|option\..*)$/;

const DECAYS = ["weight_decay", "feature_decay"];

/** Ask for everything that the state needs. */
function refresh({ lenient = false, bound = false } = {}) {
  const view = value("view");
  syncControls({ classes: shown.picture?.classes });
  decay.sync();
  if (!$("hold").checked || lenient) held = null;
  if (view === "design") designer.ask(lenient, held);
  else if (view === "dynamics") dynamics.ask(lenient, held);
  else if (view === "runs") writeAddress(store.values);
  else {
    lanes.picture.ask({ values: { ...store.values }, previous: frame.previous, lenient, hold: held });
    awaitPicture();
    if (held === null && !bound) askLine(lenient);
  }
}

function askLine(lenient = false) {
  const key = lineKey();
  if (key === shown.lineKey && !lenient) return;
  shown.lineKey = key;
  $("panel-line").setAttribute("aria-busy", "true");
  lanes.line.ask({ values: store.values, lenient });
}

const SLOW = 400; // milliseconds after which a picture that is not of the controls is marked
let waiting = null;

/** Mark the pictures as stale once the answer takes long. */
function awaitPicture() {
  if (waiting === null) waiting = setTimeout(() => markStale("computing", (value("view") === "dynamics" ? dynamics.shown : shown.picture) ? "Computing. The pictures still show the previous settings." : "Computing the first pictures."), SLOW);
}

/** An answer has come, with a picture or without. What is not about a control stands at the top. */
function settled(drawn, errors = {}) {
  const where = Object.keys(errors).some((name) => name !== "address") ? "beside the control" : "at the top of the page";
  if (!drawn) markStale("refused", `The pictures show the last valid settings. See the message ${where}.`);
  else if (!lanes.picture.next) markStale();
}

function markStale(reason = "", words = "") {
  clearTimeout(waiting);
  waiting = null;
  if (reason) document.body.dataset.stale = reason;
  else delete document.body.dataset.stale;
  $("stale").textContent = words;
  $("stale").hidden = !words;
}

const ASIDE = new Set(["bias_decay", "spread", "quantity", "centered", "axes", "view", "target", "tree", "similarity", "size", "run", "start_scale", "start_seed"]);
const lineKey = () => JSON.stringify(Object.entries(store.values).filter(([name]) => !ASIDE.has(name)).sort());

/** Keep the state of an answer in the address, unless another view has been opened since, and the decays that the
 * server has settled, unless they were changed since. */
function keep(answer, body) {
  const { numbers } = answer.picture ?? answer.design ?? answer.dynamics;
  if (body.hold === null) shown.t = numbers.values.t;
  const implied = value("recipe") !== "none" || body.hold !== null;
  if (implied && DECAYS.every((name) => store.values[name] === body.values[name])) {
    for (const name of DECAYS) store.values[name] = answer.address[name] ?? store.defaults[name];
  }
  if (Object.keys(store.values).every((name) => !OF_CLASSES.test(name) || store.values[name] === body.values[name])) held = null;
  if ((answer.address.view ?? "explore") === value("view")) writeAddress(answer.address);
}

function receivePicture(answer, body) {
  showErrors(answer.errors ?? {});
  settled(Boolean(answer.picture), answer.errors);
  if (!answer.picture) return;
  shown.picture = answer.picture;
  keep(answer, body);
  if (value("recipe") !== "none" || body.hold !== null) askLine();
  if (body.lenient) adopt(answer);
  drawPicture();
  syncControls({ classes: answer.picture.classes });
}

/** After a lenient request the state is what could be read. */
function adopt(answer) {
  store.values = { ...answer.address };
  syncControls({ classes: answer.picture?.classes });
  decay.sync();
}

function receiveLine(answer) {
  $("panel-line").removeAttribute("aria-busy");
  if (!answer.line) {
    shown.lineKey = "";
    return;
  }
  shown.line = answer.line;
  shown.points = answer.points;
  drawPath();
}

// Pictures

function drawPicture() {
  const { picture } = shown;
  const { texts } = picture.numbers;
  frame.show({ ...picture.frame, axes: value("axes") }, !decay.playing);
  const features = unpack(picture.features);
  const classifier = unpack(picture.classifier);
  const products = value("quantity") === "products";
  const meaning = products ? "product" : "cosine";
  drawMatrix($("plot-features"), features, { meaning, most: products ? largest(features) : 1, quick: true });
  drawMatrix($("plot-classifier"), classifier, { meaning, what: "rows", most: products ? largest(classifier) : 1, quick: true });
  drawSpectrum($("plot-spectrum"), picture.spectrum);
  const hidden = Math.round(100 * picture.frame.shown);
  $("law").replaceChildren(...symbols(picture.law));
  $("beside-part").hidden = !picture.beside;
  if (picture.beside) {
    beside.show({ ...picture.beside, axes: value("axes") }, !decay.playing);
    const { name, mean_cosine: cosine } = picture.beside;
    $("beside-name").textContent = cosine === "–" ? `${name}: a class mean is zero` : `${name}: mean cosine ${cosine}`;
  }
  const inView = `These three directions hold ${hidden} % of the squared length.`;
  const { nc1 } = picture.frame;
  $("frame-note").textContent = nc1 !== undefined ? `Class means and samples of two linear layers, with NC1 = ${digits(nc1)}.` : picture.frame.empty ? "" : picture.unique ? inView : `This is one of many minimizers, whose angles differ. ${inView}`;
  $("features-note").textContent = picture.unique ? "class means" : "one of many minimizers";
  $("frame").setAttribute("aria-label", `Class means in three dimensions; mean cosine ${texts.mean_cosine}. Arrow keys turn the view.`);
  const learned = picture.spectrum.learned.filter((v) => v > 0).length;
  $("spectrum-note").textContent = `${learned} of ${picture.spectrum.learned.length} directions`;
  glance(texts);
  const { certificate } = picture;
  const verdict = $("verdict");
  verdict.textContent = { proved: "global minimum, proved", stationary: "stationary point", open: "not proved" }[certificate.verdict];
  verdict.className = `badge ${certificate.verdict}`;
  $("certificate").textContent = certificate.words;
  $("explanation").replaceChildren(...symbols(picture.numbers.explanation));
  metrics(picture.metrics);
  moveLine();
  painted("picture");
}

const GLANCE = [["mean_cosine", "mean cosine", "mean_cosine"], ["bias_norm", "|b|", "bias_norm"], ["critical", "critical λ_b*", "critical"], ["t", "t = c√K", "t"], ["loss", "minimum", "loss_value"]];

function glance(texts) {
  const place = $("glance");
  if (!place.children.length) {
    place.append(...GLANCE.map(([name, title, tip]) => el("div", {}, el("dt", {}, el("span", { class: "term", tabIndex: 0, data: { tip } }, ...symbols(title))), el("dd", { id: `number-${name}` }))));
  }
  for (const [name] of GLANCE) $(`number-${name}`).replaceChildren(...symbols(texts[name]));
}

function metrics(rows) {
  const body = $("metrics");
  if (body.children.length !== rows.length) {
    body.replaceChildren(...rows.map((row) => el("tr", {}, el("td", { class: "name" }, el("span", { class: "term", tabIndex: 0, data: { tip: row.name } }, row.name)), el("td", { class: "value", id: `metric-${row.name}` }), el("td", { class: "meaning" }))));
  }
  rows.forEach((row, i) => {
    const [, number, meaning] = body.children[i].children;
    if (number.textContent !== row.text) number.textContent = row.text;
    const words = row.reason || row.meaning;
    if (meaning.dataset.words !== words) {
      meaning.dataset.words = words;
      meaning.replaceChildren(...symbols(words));
    }
  });
}

function drawPath() {
  const { line, points } = shown;
  const critical = line.critical;
  $("critical-note").replaceChildren(...symbols(!line.unique ? "Cosines are not drawn, because many minimizers with different angles exist." : critical === null ? "" : critical === "inf" ? "The features never carry the label mean." : critical === 0 ? (typeof line.turning === "number" && line.turning > 0 ? `It turns by a tenth at λ_b = ${digits(line.turning)}.` : "It turns at every λ_b above 0.") : `It turns at λ_b* = ${shown.picture?.numbers.texts.critical ?? critical}.`));
  drawLine($("plot-line"), line, points, store.slider).then((div) => {
    // The line stands over the chart, which also draws itself again when its size changes.
    div.removeAllListeners("plotly_afterplot");
    div.on("plotly_afterplot", moveLine);
    moveLine();
    painted("line");
  });
}

/** Put the line of the present bias decay and its two beads over the chart: no redraw. */
function moveLine() {
  const div = $("plot-line");
  const handle = $("present");
  if (!shown.line || !div._fullLayout || !shown.picture) return;
  const x = xOf(decayOf(value("bias_decay")), store.slider);
  const { values } = shown.picture.numbers;
  const place = pixels(div, x);
  handle.style.left = `${place.left}px`;
  handle.style.top = `${place.from}px`;
  handle.style.height = `${place.height}px`;
  handle.setAttribute("aria-valuenow", positionOf(decayOf(value("bias_decay"))));
  handle.setAttribute("aria-valuetext", `λ_b = ${value("bias_decay")}`);
  for (const [id, number, name] of [["bead-cosine", values.mean_cosine, "yaxis"], ["bead-bias", values.bias_norm, "yaxis2"]]) {
    const bead = $(id);
    bead.hidden = number === null;
    if (number === null) continue;
    const spot = pixels(div, x, number, name);
    bead.style.left = `${spot.left}px`;
    bead.style.top = `${spot.top}px`;
  }
}

function hoverMean(k, event) {
  const tip = $("tip");
  if (k === null || !shown.picture) {
    tip.hidden = true;
    return;
  }
  tip.replaceChildren(el("b", {}, `Class ${k}`), `${shown.picture.counts[k]} samples`);
  tip.hidden = false;
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
}

// Views, theme, copies

function open(view) {
  if (view !== value("view")) {
    decay.halt();
    dynamics.player.halt();
    markStale();
    store.values.view = view;
    if (view === "explore") delete store.values.view;
  }
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll("[data-open]")) {
    tab.setAttribute("aria-selected", String(tab.dataset.open === view));
    tab.tabIndex = tab.dataset.open === view ? 0 : -1;
  }
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== view;
  $("strip").hidden = view === "runs";
  runs.watch(view === "runs");
}

function listenToTabs() {
  const tabs = [...document.querySelectorAll("[data-open]")];
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => {
      open(tab.dataset.open);
      refresh();
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(i + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  });
}

function repaint() {
  if (shown.picture) drawPicture();
  if (shown.line) drawPath();
  designer.draw();
  dynamics.draw();
  runs.draw();
}

function listenToTools() {
  $("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    repaint();
  });
  for (const button of document.querySelectorAll("[data-set]")) {
    button.addEventListener("click", () => {
      store.values[button.dataset.set] = button.dataset.value;
      syncSwitches();
      refresh();
    });
  }
  $("copy-open").addEventListener("click", () => {
    $("copied").textContent = "";
    lanes.snippets.ask({ values: store.values });
    $("copy").showModal();
  });
  for (const button of document.querySelectorAll("[data-snippet]")) {
    button.addEventListener("click", () => {
      snippet = button.dataset.snippet;
      receiveSnippets({ snippets: copies, file: copies.file });
    });
  }
  $("copy-now").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(copies[snippet] ?? "");
      $("copied").textContent = "The text is copied.";
    } catch {
      getSelection().selectAllChildren($("snippet"));
      $("copied").textContent = "The text is selected. Press Ctrl-C to copy it.";
    }
  });
  $("encoding-save").addEventListener("click", () => copies.file && save("encoding.json", copies.file));
  for (const close of document.querySelectorAll("[data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
}

function receiveSnippets(answer) {
  if (answer.snippets) copies = { ...answer.snippets, file: answer.file };
  $("snippet").textContent = answer.snippets ? copies[snippet] : "A control holds a value that cannot be used. See the message beside it.";
  for (const button of document.querySelectorAll("[data-snippet]")) button.setAttribute("aria-pressed", String(button.dataset.snippet === snippet));
}

function syncSwitches() {
  for (const button of document.querySelectorAll("[data-set]")) button.setAttribute("aria-pressed", String(value(button.dataset.set) === button.dataset.value));
}

/** Go to a state: of a trial, or of a design. */
function visit(values) {
  store.values = { ...values };
  held = null;
  delete store.values.view;
  open("explore");
  syncSwitches();
  refresh();
}

/** What a page without settings opens with: three means lie in three dimensions as they are. */
const FIRST = { classes: "3" };

async function boot() {
  const start = await get("/api/start");
  store.start = start;
  store.defaults = start.defaults;
  store.slider = start.slider.map((v) => (v === "inf" ? Infinity : v));
  store.values = readAddress();
  if (!Object.keys(store.values).length) store.values = { ...FIRST };
  designer = new Designer({ change, visit, painted, keep, adopt, glance });
  dynamics = new Dynamics({ painted, keep, adopt, glance, settled, waiting: awaitPicture });
  runs = new Runs({ visit, painted, hasRuns: start.runs });
  buildControls(start, change);
  listenForTips();
  makeTermsReachable();
  equipPanels();
  decay.listen();
  listenToTabs();
  listenToTools();
  makeTour({
    open: (view) => {
      if (view === (value("view") || "explore")) return;
      open(view);
      refresh();
    },
    sweep: () => decay.player.playFrom(0),
    halt: () => decay.halt(),
    keep: () => value("bias_decay"),
    restore: (text) => change("bias_decay", text),
  });
  if (innerWidth <= 860) document.querySelector(".drawer").open = false;
  open(VIEWS.includes(value("view")) ? value("view") : "explore");
  syncSwitches();
  refresh({ lenient: true });
  addEventListener("popstate", () => {
    store.values = readAddress();
    open(VIEWS.includes(value("view")) ? value("view") : "explore");
    syncSwitches();
    refresh({ lenient: true });
  });
  document.documentElement.dataset.ready = "1";
}

boot();
