// The design view: a geometry is wanted, drawn or loaded; the encoding that leads there is found and solved again.

import { drawMatrix, largest } from "./charts.js";
import { showErrors, syncControls } from "./controls.js";
import { Frame } from "./frame.js";
import { store, value } from "./store.js";
import { Lane } from "./requests.js";
import { $, digits, el, save, unpack } from "./tools.js";

const MOST_DRAWN = 40; // above it a cell is too small to hit

export class Designer {
  constructor({ change, visit, painted, keep, adopt, glance }) {
    Object.assign(this, { change, visit, painted, keep, adopt, glance, shown: null, cursor: [0, 1], brush: 0.5, drawing: null });
    this.frame = new Frame($("design-frame"));
    this.lane = new Lane("/api/design", (answer, body) => this.receive(answer, body), true);
    $("design-save").addEventListener("click", () => this.shown && save("encoding.json", this.shown.file));
    $("design-explore").addEventListener("click", () => this.explore());
    this.#listen();
  }

  ask(lenient = false, hold = null) {
    this.lane.ask({ values: { ...store.values }, previous: this.frame.previous, lenient, hold });
  }

  receive(answer, body) {
    showErrors(answer.errors ?? {});
    if (!answer.design) return;
    this.shown = answer.design;
    this.keep(answer, body);
    if (body.lenient) this.adopt(answer);
    syncControls({ classes: this.shown.classes });
    this.draw();
  }

  draw() {
    const { shown } = this;
    if (!shown || value("view") !== "design") return;
    this.glance(shown.numbers.texts);
    const names = shown.names;
    const wanted = unpack(shown.target_cosines);
    const codewords = unpack(shown.codewords);
    drawMatrix($("plot-target"), wanted, { names }).then(() => this.#mark());
    drawMatrix($("plot-reached"), unpack(shown.reached_cosines), { names });
    drawMatrix($("plot-codewords"), codewords, { what: "entries", most: largest(codewords), square: false });
    this.frame.show({ ...shown.frame, names, axes: value("axes") });
    const note = $("paint-note");
    if (!note.children.length) note.append(...this.#brush());
    note.hidden = shown.classes > MOST_DRAWN;
    const verdict = $("design-verdict");
    verdict.textContent = { proved: "proved", stationary: "stationary", open: "not proved" }[shown.certificate.verdict];
    verdict.className = `badge ${shown.certificate.verdict}`;
    const [most, least] = [Math.max(...shown.counts), Math.min(...shown.counts)];
    const samples = most === least ? `at ${most} samples a class` : `although class counts range from ${most} to ${least}`;
    const others = shown.one_hot === null ? "One-hot labels would learn nothing here." : `One-hot labels would end at a distance of ${digits(shown.one_hot)} from this shape (0 means the same shape, and 2 is the largest distance).`;
    $("design-words").textContent = `With these labels the class means have the wanted geometry to a relative error of ${digits(shown.gram_error)}, ${samples}. ${others} ${shown.certificate.words}`;
    $("design-notes").replaceChildren(...shown.notes.map((text) => el("li", {}, text)));
    this.painted("design");
  }

  #brush() {
    const input = el("input", { type: "range", min: -1, max: 1, step: 0.05, value: this.brush, id: "brush", style: "width:90px;vertical-align:middle", "aria-label": "Cosine to draw with" });
    const text = el("output", { id: "brush-value" }, digits(this.brush, 2));
    input.addEventListener("input", () => {
      this.brush = Number(input.value);
      text.textContent = digits(this.brush, 2);
    });
    return ["draw with ", input, " ", text];
  }

  explore() {
    if (!this.shown) return;
    const kept = Object.fromEntries(Object.entries(store.values).filter(([name]) => !name.startsWith("option.") && !["target", "tree", "similarity", "size", "view", "classes"].includes(name)));
    this.visit({ ...kept, encoding: "own", matrix: this.shown.matrix });
  }

  // Drawing: cells under the pointer, or under a cursor that the arrow keys move, take the brush's cosine.

  #listen() {
    const chart = $("plot-target");
    chart.addEventListener("pointerdown", (event) => {
      const cell = this.#cell(event);
      if (!cell) return;
      this.drawing = unpack(this.shown.target_cosines).map((row) => Array.from(row));
      this.#put(cell, this.brush);
      event.preventDefault();
      chart.focus({ preventScroll: true });
    });
    chart.addEventListener("pointermove", (event) => {
      const cell = this.drawing && this.#cell(event);
      if (cell) this.#put(cell, this.brush);
    });
    addEventListener("pointerup", () => {
      if (!this.drawing) return;
      this.#send(this.drawing);
      this.drawing = null;
    });
    chart.addEventListener("keydown", (event) => {
      if (!this.shown || this.shown.classes > MOST_DRAWN) return;
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (step) {
        const last = this.shown.classes - 1;
        this.cursor = this.cursor.map((at, i) => Math.min(Math.max(at + step[i], 0), last));
        this.#mark();
      } else if (["+", "=", "-", "−"].includes(event.key)) {
        const rows = unpack(this.shown.target_cosines).map((row) => Array.from(row));
        const [i, j] = this.cursor;
        if (i === j) return;
        const up = event.key === "+" || event.key === "=" ? 0.1 : -0.1;
        rows[i][j] = rows[j][i] = Math.round(Math.min(Math.max(rows[i][j] + up, -1), 1) * 100) / 100;
        this.#send(rows);
      } else return;
      event.preventDefault();
    });
  }

  #cell(event) {
    const chart = $("plot-target");
    const full = chart._fullLayout;
    if (!full?.xaxis || !this.shown || this.shown.classes > MOST_DRAWN) return null;
    const box = chart.getBoundingClientRect();
    const j = Math.round(full.xaxis.p2l(event.clientX - box.left - full.xaxis._offset));
    const i = Math.round(full.yaxis.p2l(event.clientY - box.top - full.yaxis._offset));
    const fits = i >= 0 && j >= 0 && i < this.shown.classes && j < this.shown.classes && i !== j;
    return fits ? [i, j] : null;
  }

  #put([i, j], cosine) {
    this.cursor = [i, j];
    this.drawing[i][j] = this.drawing[j][i] = cosine;
    drawMatrix($("plot-target"), this.drawing, { names: this.shown.names, meaning: "cosine" });
    this.#mark();
  }

  #send(rows) {
    store.values.target = "similarity";
    this.change("similarity", rows.map((row) => row.map((x) => String(Math.round(x * 1e6) / 1e6)).join(",")).join(";"));
  }

  /** Outline of the chosen cell. */
  #mark() {
    const chart = $("plot-target");
    const full = chart._fullLayout;
    if (!full?.xaxis) return;
    let mark = $("cell");
    if (!mark) {
      mark = el("i", { id: "cell", style: "position:absolute;border:2px solid var(--ink);border-radius:3px;pointer-events:none" });
      chart.append(mark);
    }
    const [i, j] = this.cursor;
    const side = Math.abs(full.xaxis.l2p(1) - full.xaxis.l2p(0));
    const tall = Math.abs(full.yaxis.l2p(1) - full.yaxis.l2p(0));
    mark.hidden = document.activeElement !== chart && !this.drawing;
    mark.style.left = `${full.xaxis._offset + full.xaxis.l2p(j) - side / 2}px`;
    mark.style.top = `${full.yaxis._offset + full.yaxis.l2p(i) - tall / 2}px`;
    mark.style.width = `${side}px`;
    mark.style.height = `${tall}px`;
  }
}
