// Playing: a position that runs from where it stands to its end, with a pause, a loop and three speeds.

import { $, el, still } from "./tools.js";

const SWEEP = 9000; // milliseconds of a whole play
const STEP = 700; // milliseconds between pictures of a play for those who want less motion

export class Player {
  /** Make the three controls in the element `place`.
   * `what` is the name of the play button while it waits and while it plays; `last()` is the last position, `at()` the
   * present one, `go(position)` moves there, and `busy()` says that the picture before is still awaited. */
  constructor(place, { id, what, last, at, go, busy = () => false }) {
    Object.assign(this, { what, last, at, go, busy, raf: null });
    const [name] = what;
    this.button = el("button", { id: id("play"), class: "round", "aria-label": name, onclick: () => (this.playing ? this.halt() : this.play()) }, el("span", { "aria-hidden": "true" }, "▶"));
    this.loop = el("button", { id: id("loop"), class: "loop", "aria-pressed": "false", "aria-label": "Loop", title: "Loop", onclick: () => this.loop.setAttribute("aria-pressed", String(!this.looping)) }, el("span", { "aria-hidden": "true" }, "⟳"));
    this.speed = el("select", { id: id("speed"), class: "speed", "aria-label": "Speed", onchange: () => this.#restart() }, ...[["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"]].map(([v, t]) => el("option", { value: v, selected: v === "1" }, t)));
    $(place).replaceChildren(this.button, this.loop, this.speed);
  }

  get playing() {
    return this.raf !== null;
  }

  get looping() {
    return this.loop.getAttribute("aria-pressed") === "true";
  }

  halt() {
    cancelAnimationFrame(this.raf);
    this.raf = null;
    this.#name(this.what[0], "▶");
  }

  playFrom(position) {
    this.go(position);
    this.play();
  }

  play() {
    const last = this.last();
    const from = this.at() >= last ? 0 : this.at();
    const pace = still.matches ? STEP : 0;
    const began = performance.now();
    let before = -Infinity;
    let reached = -1;
    this.#name(this.what[1], "❚❚");
    const sweep = SWEEP / Number(this.speed.value);
    const tick = () => {
      const now = performance.now();
      const position = Math.min(from + Math.round(((now - began) / sweep) * last), last);
      if (position !== reached && now - before >= pace && !this.busy()) {
        before = now;
        reached = position;
        this.go(position);
      }
      if (reached >= last && this.looping) this.playFrom(0);
      else if (reached >= last) this.halt();
      else this.raf = requestAnimationFrame(tick);
    };
    cancelAnimationFrame(this.raf);
    this.raf = requestAnimationFrame(tick);
  }

  #restart() {
    if (!this.playing) return;
    this.halt();
    this.play();
  }

  /** What the button does now, for the eye and for screen readers. */
  #name(words, sign) {
    this.button.setAttribute("aria-label", words);
    this.button.firstElementChild.textContent = sign;
  }
}
