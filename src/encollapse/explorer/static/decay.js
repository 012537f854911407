// The bias decay, moved in five ways: slider, number, the line in the chart, its keys, and play.

import { placeAt, positionAt } from "./charts.js";
import { setSlider } from "./controls.js";
import { Player } from "./player.js";
import { decayOf, decayText, positionOf, store, value } from "./store.js";
import { $, digits } from "./tools.js";

export class Decay {
  constructor({ change, refresh, busy }) {
    Object.assign(this, { change, refresh });
    this.player = new Player("decay-player", {
      id: (name) => name,
      what: ["Play: sweep the bias decay", "Pause the sweep of the bias decay"],
      last: () => store.slider.length - 1,
      at: () => this.position,
      go: (position) => (this.position = position),
      busy,
    });
  }

  get playing() {
    return this.player.playing;
  }

  set position(position) {
    store.values.bias_decay = decayText(position);
    this.refresh();
  }

  get position() {
    return positionOf(decayOf(value("bias_decay")));
  }

  /** Bring slider and number to the present value. */
  sync() {
    const text = value("bias_decay");
    const decay = decayOf(text);
    if (!Number.isNaN(decay) && decay >= 0) setSlider($("bias_decay_slider"), positionOf(decay));
    const input = $("bias_decay");
    if (input !== document.activeElement) input.value = Number.isNaN(decay) ? text : digits(decay, 4);
    $("bias_decay_slider").setAttribute("aria-valuetext", `λ_b = ${text}`);
  }

  halt() {
    this.player.halt();
  }

  listen() {
    $("bias_decay_slider").addEventListener("input", (event) => {
      this.halt();
      this.position = Number(event.target.value);
    });
    const typed = (event) => event.target.value.replace("∞", "inf");
    $("bias_decay").addEventListener("input", (event) => this.change("bias_decay", typed(event), true));
    $("bias_decay").addEventListener("change", (event) => this.change("bias_decay", typed(event)));
    this.#listenToLine();
  }

  #listenToLine() {
    const handle = $("present");
    const chart = $("plot-line");
    handle.addEventListener("pointerdown", (event) => {
      this.halt();
      handle.setPointerCapture(event.pointerId);
      handle.dataset.held = "1";
      event.preventDefault();
      handle.focus({ preventScroll: true });
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.dataset.held) return;
      this.position = positionAt(placeAt(chart, event.clientX - chart.getBoundingClientRect().left), store.slider);
    });
    for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => delete handle.dataset.held);
    handle.addEventListener("keydown", (event) => {
      const last = store.slider.length - 1;
      const at = this.position;
      const to = { ArrowLeft: at - 5, ArrowDown: at - 5, ArrowRight: at + 5, ArrowUp: at + 5, PageDown: at - 100, PageUp: at + 100, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.position = Math.min(Math.max(to, 0), last);
    });
  }
}
