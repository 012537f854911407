// The runs view: trained networks over the theory, live while a study is running.

import { drawHistory, drawLine, drawMatrix } from "./charts.js";
import { setSlider } from "./controls.js";
import { Frame } from "./frame.js";
import { Player } from "./player.js";
import { store, value, writeAddress } from "./store.js";
import { Lane, get } from "./requests.js";
import { $, color, digits, el, symbols, unpack } from "./tools.js";

const POLL = 2000; // milliseconds between two looks at the folder
const SOON = 100; // and while it is still being read
const CURVES = { loss: "loss", stationarity: "stationarity", mean_cosine: "mean cosine", accuracy: "accuracy", nc1_trace_ratio: "NC1, trace ratio", nc2_etf_uncentered: "distance from a simplex frame" };

export class Runs {
  constructor({ visit, painted, hasRuns }) {
    Object.assign(this, { visit, painted, hasRuns, study: null, trial: null, line: null, family: null, timer: null, signature: "" });
    this.frame = new Frame($("training"));
    this.lane = new Lane("/api/line", (answer) => this.#receiveLine(answer));
    if (!hasRuns) {
      for (const panel of document.querySelectorAll("#view-runs > .panel")) panel.hidden = panel.id !== "panel-none";
    }
    $("curve").addEventListener("change", () => this.#drawCurve());
    $("run-explore").addEventListener("click", () => this.trial?.address && this.visit(this.trial.address));
    $("epoch").addEventListener("input", () => {
      this.player.halt();
      this.#show(Number($("epoch").value));
    });
    this.player = new Player("epochs-player", {
      id: (name) => `epochs-${name}`,
      what: ["Play the training", "Pause the training"],
      last: () => this.trial.frames.length - 1,
      at: () => Number($("epoch").value),
      go: (position) => this.#show(position, false),
    });
    $("trials").addEventListener("keydown", (event) => this.#key(event));
  }

  /** Look at the folder as long as the view is open. */
  watch(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (!on || !this.hasRuns) return;
    this.#look();
    this.timer = setInterval(() => document.hidden || this.#look(), POLL);
  }

  draw() {
    if (value("view") !== "runs" || !this.study) return;
    this.#drawList();
    this.#drawOverlay();
    this.#drawTrial();
  }

  async #look() {
    const found = await get("/api/runs").catch(() => ({ error: "The explorer has been stopped. Start it again to go on." }));
    if (found.error) {
      $("study-progress").textContent = found.error;
      return;
    }
    // A large study is read in pieces: the first is drawn, and then all of it.
    const reading = found.read < found.done;
    clearTimeout(this.soon);
    if (reading) {
      this.soon = setTimeout(() => this.timer && this.#look(), SOON);
      $("study-progress").textContent = `reading, ${found.read} of ${found.done} trained networks`;
      if (this.study) return;
    }
    const signature = JSON.stringify([found.done, found.failed, found.missing, found.points.map((p) => [p.id, p.gram_error])]);
    if (signature === this.signature) return;
    this.signature = signature;
    this.study = found;
    $("study-title").textContent = found.title;
    if (!reading) $("study-progress").textContent = [`${found.done} trained`, found.failed ? `${found.failed} failed` : "", found.missing ? `${found.missing} to come` : ""].filter(Boolean).join(" · ");
    const known = found.points.some((p) => p.id === value("run"));
    const first = known ? value("run") : this.trial?.id ?? found.points[0]?.id;
    this.#drawList();
    if (first) this.select(first);
  }

  async select(id) {
    const point = this.study.points.find((p) => p.id === id);
    store.values.run = id;
    writeAddress(store.values);
    if (point && point.family !== this.family) {
      this.family = point.family;
      this.line = null;
    }
    this.#drawOverlay();
    for (const option of document.querySelectorAll("#trials [role=option]")) option.setAttribute("aria-selected", String(option.dataset.id === id));
    const trial = await get(`/api/runs/${encodeURIComponent(id)}`);
    if (store.values.run !== id || (trial.error && !trial.settings)) return;
    this.player.halt();
    this.trial = trial;
    if (!this.line && trial.address) this.lane.ask({ values: trial.address });
    this.#drawTrial();
  }

  #receiveLine(answer) {
    this.line = answer.line ?? null;
    this.#drawOverlay();
  }

  #drawOverlay() {
    const points = this.study.points.filter((p) => p.family === this.family);
    drawLine($("plot-overlay"), this.line, points, store.slider, { selected: value("run") }).then((div) => {
      if (!div.dataset.listens) {
        div.dataset.listens = "1";
        div.on("plotly_click", (event) => event.points[0]?.customdata && this.select(event.points[0].customdata));
      }
      this.painted("runs");
    });
  }

  #drawList() {
    const families = Map.groupBy ? Map.groupBy(this.study.points, (p) => p.family) : grouped(this.study.points);
    const rows = [];
    for (const [family, points] of families) {
      // A list box holds options and groups alone: the group has the heading as its name.
      const group = el("div", { role: "group", "aria-label": family }, el("h3", { "aria-hidden": "true" }, ...symbols(family)));
      for (const p of points) {
        group.append(
          el("div", { role: "option", id: `trial-${p.id}`, data: { id: p.id }, "aria-selected": String(p.id === value("run")), onclick: () => this.select(p.id) },
            el("span", { style: `color:${p.converged === false ? color("--warm") : color("--good")}`, title: p.converged === false ? "Training stopped before it reached a stationary point." : "Training reached a stationary point." }, p.converged === false ? "○" : "●"),
            el("span", {}, ...symbols(`λ_b = ${digits(p.bias_decay)}, seed ${p.seed}`)),
            el("span", { class: "err" }, p.gram_error === null ? "" : `error ${digits(p.gram_error)}`)),
        );
      }
      rows.push(group);
    }
    for (const f of this.study.failures) {
      rows.push(el("div", { role: "option", data: { id: f.id }, "aria-selected": "false", onclick: () => this.select(f.id) }, el("span", { style: `color:${color("--warm")}` }, "×"), el("span", {}, ...symbols(f.label)), el("span", { class: "err" }, "failed")));
    }
    $("trials").replaceChildren(...rows);
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !this.study) return;
    event.preventDefault();
    const options = [...document.querySelectorAll("#trials [role=option]")];
    const at = options.findIndex((o) => o.getAttribute("aria-selected") === "true");
    const next = options[Math.min(Math.max(at + step, 0), options.length - 1)];
    next?.scrollIntoView({ block: "nearest" });
    if (next) this.select(next.dataset.id);
  }

  #drawTrial() {
    const { trial } = this;
    if (!trial) return;
    const names = trial.classes?.length ? trial.classes : null;
    for (const side of ["measured", "predicted"]) {
      const panel = $(`panel-${side}`);
      panel.hidden = !trial[side];
      if (trial[side]) drawMatrix($(`plot-${side}`), unpack(trial[side]), { names });
    }
    const curves = Object.keys(CURVES).filter((name) => trial.history?.[name]);
    const before = $("curve").value;
    $("curve").replaceChildren(...curves.map((name) => el("option", { value: name }, CURVES[name])));
    if (curves.includes(before)) $("curve").value = before;
    $("panel-history").hidden = !curves.length;
    if (curves.length) this.#drawCurve();
    const frames = trial.frames ?? [];
    $("epochs").hidden = frames.length < 2;
    $("epoch-note").textContent = frames.length ? "" : "This study kept no class means. To keep them, write measure = { frames = true } in its file.";
    $("samples-note").textContent = !frames.length ? "" : frames[0].samples ? "Dots: the same samples of each class at every epoch." : "This study kept no samples, so only the class means are drawn.";
    $("training").hidden = !frames.length;
    document.querySelector("#panel-training .acts").hidden = !frames.length;
    if (frames.length) {
      $("epoch").max = frames.length - 1;
      this.#show(frames.length - 1, false);
    }
    this.#drawSettings();
  }

  #drawCurve() {
    drawHistory($("plot-history"), this.trial.history, $("curve").value);
  }

  #drawSettings() {
    const { trial } = this;
    const flat = (given, prefix = "") => Object.entries(given).flatMap(([name, v]) => (v && typeof v === "object" && !Array.isArray(v) ? flat(v, `${prefix}${name}.`) : [[prefix + name, v]]));
    const rows = [
      ...(trial.error ? [["error", trial.error.trim().split("\n").at(-1)]] : []),
      ...Object.entries(trial.errors ?? {}).filter(([, v]) => v !== null),
      ...Object.entries(trial.record ?? {}).filter(([, v]) => v !== null),
      ...flat(trial.settings),
      ["seconds", trial.seconds],
    ];
    $("run-settings").replaceChildren(...rows.map(([name, v]) => el("tr", {}, el("td", { class: "name" }, name), el("td", {}, typeof v === "number" ? digits(v, 4) : Array.isArray(v) ? v.join(", ") : String(v)))));
    $("run-explore").disabled = !trial.address;
  }

  #show(index, turn = true) {
    const frame = this.trial.frames[index];
    setSlider($("epoch"), index);
    const nc1 = frame.nc1 === null || frame.nc1 === undefined ? "" : `, NC1 ${digits(frame.nc1)}`;
    $("epoch-note").textContent = `epoch ${digits(frame.epoch)}${nc1}`;
    this.frame.show({ ...frame, names: this.trial.classes, axes: "turning", empty: false }, turn);
  }
}

function grouped(points) {
  const groups = new Map();
  for (const p of points) groups.set(p.family, [...(groups.get(p.family) ?? []), p]);
  return groups;
}
