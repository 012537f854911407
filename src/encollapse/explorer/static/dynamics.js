// The dynamics view: gradient flow from a small random start to the minimum, moved in time.

import { drawCurves, pixels } from "./charts.js";
import { setSlider, showErrors, syncControls } from "./controls.js";
import { Frame } from "./frame.js";
import { Player } from "./player.js";
import { Lane } from "./requests.js";
import { store, value } from "./store.js";
import { $, classColor, color, digits, el, symbols } from "./tools.js";

const FLOOR = 1e-9; // share of the minimum below which an excess is rounding

export class Dynamics {
  constructor({ painted, keep, adopt, glance, settled, waiting }) {
    Object.assign(this, { painted, keep, adopt, glance, settled, waiting, shown: null, at: 0 });
    this.frame = new Frame($("flow-frame"));
    this.lane = new Lane("/api/dynamics", (answer, body) => this.receive(answer, body));
    this.player = new Player("time-player", {
      id: (name) => `time-${name}`,
      what: ["Play: follow the training in time", "Pause the training"],
      last: () => Number($("time").max),
      at: () => this.at,
      go: (position) => this.#show(position),
    });
    $("time").addEventListener("input", () => {
      this.player.halt();
      this.#show(Number($("time").value));
    });
    for (const id of ["plot-modes", "plot-excess"]) new ResizeObserver(() => setTimeout(() => this.#mark(), 60)).observe($(id));
  }

  ask(lenient = false, hold = null) {
    this.player.halt();
    this.lane.ask({ values: { ...store.values }, lenient, hold });
    this.waiting();
  }

  receive(answer, body) {
    showErrors(answer.errors ?? {});
    this.settled(Boolean(answer.dynamics), answer.errors);
    if (!answer.dynamics) return;
    this.shown = answer.dynamics;
    this.keep(answer, body);
    if (body.lenient) this.adopt(answer);
    syncControls({ classes: this.shown.classes });
    $("time").max = this.shown.time.length - 1;
    this.at = this.shown.time.length - 1;
    this.draw();
  }

  async draw() {
    const { shown } = this;
    if (!shown || value("view") !== "dynamics") return;
    this.glance(shown.numbers.texts);
    this.#words();
    this.#show(this.at);
    const times = shown.time.slice(1);
    const paint = (i) => classColor(i, shown.final.length);
    const modes = shown.singular_values.map((values, i) => ({ x: times, y: values.slice(1), name: `direction ${i + 1}`, color: paint(i) }));
    const excess = shown.excess.slice(1).map((x) => (x > FLOOR * shown.minimum ? x : null));
    const curves = [{ x: times, y: excess, name: "excess", color: color("--accent"), width: 2.4 }];
    const line = this.#slope(times, excess);
    if (line) curves.push(line);
    await Promise.all([
      drawCurves($("plot-modes"), modes, { title: "singular value", levels: shown.final.filter((v) => v > 0) }),
      drawCurves($("plot-excess"), curves, { title: "excess", logarithmic: true }),
    ]);
    this.#mark();
    this.painted("dynamics");
  }

  /** The slope exp(-2 rate t) of the excess, through its last point that is no rounding. */
  #slope(times, excess) {
    const last = excess.findLastIndex((x) => x !== null);
    const { rate } = this.shown;
    if (rate === null || last < 0) return null;
    const y = times.map((t) => excess[last] * Math.exp(-2 * rate * (t - times[last])));
    const top = Math.max(...excess.filter((x) => x !== null));
    return { x: times, y: y.map((v) => (v <= 3 * top && v >= excess[last] ? v : null)), name: "slope of the slowest rate", color: color("--warm"), dash: "dash" };
  }

  #words() {
    const { shown } = this;
    const { rate, whole } = shown;
    const final = shown.excess.at(-1) / shown.minimum;
    const end = !whole ? "The work was stopped after ten seconds, before the end." : final > 1e-6 ? `At the end the loss is still ${digits(100 * final, 2)} % above the minimum.` : "It ends at the minimum.";
    $("flow-words").textContent = `Training by gradient flow from a small random start: gradient descent with very small steps, on all samples, where time t is the learning rate times the number of steps. ${end}`;
    $("flow-note").textContent = { proved: "minimum proved", stationary: "lowest stationary point found", open: "minimum not proved" }[shown.verdict];
    const tenth = rate === null ? "" : `Near the end the excess falls to a tenth or less in every t = ${digits(Math.log(10) / (2 * rate))}.`;
    const rows = [
      ["rate", "Slowest rate at the minimum", rate === null ? "0" : digits(rate), rate === null ? "The minimum is flat along a direction, so the end of training has no rate." : tenth],
      ["conserved", "|WᵀW − M diag(n) Mᵀ|", "", "Without decay it would never change."],
      ["balance", "Imbalance of the layers", "", "It is 0 at every stationary point."],
    ];
    $("flow-rates").replaceChildren(...rows.map(([tip, name, number, words]) => el("tr", {}, el("td", {}, el("span", { class: "term", tabIndex: 0, data: { tip } }, name)), el("td", { class: "value", id: `flow-${tip}` }, number), el("td", { class: "meaning" }, words))));
    const learned = shown.final.map((level, i) => el("tr", {}, el("td", { class: "name" }, el("i", { class: "swatch", style: `background:${classColor(i, shown.final.length)}` }), `${i + 1}`), el("td", { class: "value" }, shown.growth === null ? "–" : digits(shown.growth[i])), el("td", { class: "value" }, digits(level)), el("td", { class: "value" }, level > 0 && shown.half[i] !== null ? `t = ${digits(shown.half[i])}` : "never")));
    $("flow-modes").replaceChildren(...learned);
  }

  /** Move to one of the times. */
  #show(index) {
    const { shown } = this;
    if (!shown) return;
    this.at = Math.min(index, shown.time.length - 1);
    const i = this.at;
    const time = `t = ${digits(shown.time[i])}`;
    setSlider($("time"), i);
    $("time").setAttribute("aria-valuetext", time);
    $("time-value").textContent = time;
    const nothing = Math.max(...shown.frames[i].means.map((p) => Math.hypot(...p))) === 0;
    this.frame.show({ ...shown.frames[i], names: shown.names, axes: value("axes"), empty: nothing }, false);
    const half = shown.singular_values.filter((values, k) => shown.final[k] > 0 && values[i] >= shown.final[k] / 2).length;
    const now = { learned: `${half} of ${shown.final.filter((v) => v > 0).length}`, loss: digits(shown.loss[i]), excess: digits(shown.excess[i] > FLOOR * shown.minimum ? shown.excess[i] : 0), cosine: digits(shown.cosine[i]), bias: digits(shown.bias[i]) };
    const place = $("flow-glance");
    const titles = [["learned", "directions learned", "learned"], ["loss", "loss", "loss_now"], ["excess", "excess", "excess"], ["cosine", "mean cosine", "mean_cosine"], ["bias", "|b|", "bias_norm"]];
    if (!place.children.length) place.append(...titles.map(([name, title, tip]) => el("div", {}, el("dt", {}, el("span", { class: "term", tabIndex: 0, data: { tip } }, ...symbols(title))), el("dd", { id: `flow-now-${name}` }))));
    for (const [name, text] of Object.entries(now)) $(`flow-now-${name}`).textContent = text;
    $("flow-conserved").textContent = digits(shown.conserved[i]);
    $("flow-balance").textContent = digits(shown.balance[i]);
    this.#mark();
  }

  /** The line of the present time over both charts. */
  #mark() {
    if (!this.shown) return;
    const time = this.shown.time[Math.max(this.at, 1)];
    for (const id of ["plot-modes", "plot-excess"]) {
      const place = pixels($(id), Math.log10(time));
      if (!place) continue;
      let mark = $(id).querySelector(".now");
      if (!mark) $(id).append((mark = el("i", { class: "now" })));
      mark.style.left = `${place.left}px`;
      mark.style.top = `${place.from}px`;
      mark.style.height = `${place.height}px`;
    }
  }
}
