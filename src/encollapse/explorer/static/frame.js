// The frame: class means and classifier rows in three dimensions, on a canvas of two.

import { classColor, color, still } from "./tools.js";

const TURN = 260; // milliseconds from one picture to the next
const LABEL = 26; // pixels that a label needs above the highest mean and below the lowest
const BEYOND = 1.1; // rows are drawn a little longer, so that they show beside the means they align with

export class Frame {
  constructor(canvas, onHover = () => {}) {
    Object.assign(this, { canvas, onHover, yaw: -0.5, tilt: 0.36, zoom: 1, now: null, from: null, to: null, hot: -1 });
    this.began = 0;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#listen();
  }

  /** Show points; `turn` lets them travel from where they are. */
  show(data, turn = true) {
    const compatible = this.now && this.now.means.length === data.means.length && this.now.rows.length === data.rows.length;
    this.data = data;
    this.to = { means: data.means, rows: data.rows };
    if (!turn || !compatible || still.matches) {
      this.from = null;
      this.now = this.to;
      this.draw();
      return;
    }
    this.from = this.now;
    this.began = performance.now();
    this.#step();
  }

  /** Let another frame be looked at from the same side, whichever of the two is turned. */
  follow(other) {
    for (const [one, two] of [[this, other], [other, this]]) {
      one.onTurn = () => {
        Object.assign(two, { yaw: one.yaw, tilt: one.tilt, zoom: one.zoom });
        two.draw();
      };
    }
  }

  /** Class means as they are meant to be drawn: what the next picture is turned to. */
  get previous() {
    return this.to?.means ?? null;
  }

  #step() {
    if (this.raf) return;
    const tick = () => {
      this.raf = null;
      if (!this.from) return;
      const share = Math.min((performance.now() - this.began) / TURN, 1);
      const eased = 1 - (1 - share) ** 3;
      const mix = (a, b) => a.map((p, i) => p.map((x, j) => x + (b[i][j] - x) * eased));
      this.now = { means: mix(this.from.means, this.to.means), rows: mix(this.from.rows, this.to.rows) };
      if (share >= 1) this.from = null;
      this.draw();
      if (this.from) this.raf = requestAnimationFrame(tick);
    };
    this.raf = requestAnimationFrame(tick);
  }

  #resize() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (!w || !h) return;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    this.ratio = ratio;
    this.draw();
  }

  #project([up, b, c]) {
    const x = b * Math.cos(this.yaw) + c * Math.sin(this.yaw);
    const z = c * Math.cos(this.yaw) - b * Math.sin(this.yaw);
    const y = up * Math.cos(this.tilt) + z * Math.sin(this.tilt);
    const depth = z * Math.cos(this.tilt) - up * Math.sin(this.tilt);
    const near = 1 / (1 + 0.16 * depth);
    return [this.cx + this.scale * x * near, this.cy - this.scale * y * near, depth];
  }

  /** Place origin and scale so that every point and its label stay in view, whichever way the frame is turned. */
  #fit(w, h, upright) {
    const [cos, sin] = [Math.cos(this.tilt), Math.sin(this.tilt)];
    let [low, high] = [0, 0];
    for (const [up, b, c] of [...this.now.means, ...this.now.rows.map((p) => p.map((x) => x * BEYOND))]) {
      const out = Math.hypot(b, c);
      for (const z of [-out, out]) {
        const y = (up * cos + z * sin) / (1 + 0.16 * (z * cos - up * sin));
        [low, high] = [Math.min(low, y), Math.max(high, y)];
      }
    }
    const room = Math.max(h - 2 * LABEL, 0);
    const scale = Math.min(w * 0.43, h * (upright ? 0.47 : 0.4), high > low ? room / (high - low) : Infinity);
    this.cx = w / 2;
    this.cy = Math.min(Math.max(h * (upright ? 0.62 : 0.5), LABEL + scale * high), h - LABEL + scale * low);
    this.scale = this.zoom * scale;
  }

  draw() {
    const { canvas, now } = this;
    if (!now || !this.ratio || !this.data) return;
    const context = canvas.getContext("2d");
    const w = canvas.clientWidth;
    const h = canvas.clientHeight;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    const upright = this.data.axes !== "leading";
    this.#fit(w, h, upright);
    if (this.data.empty) {
      context.fillStyle = color("--soft");
      context.font = `italic 15px ${color("--serif")}`;
      context.textAlign = "center";
      context.fillText("Nothing is learned: every class mean is zero.", w / 2, h / 2);
      return;
    }
    if (upright) this.#ground(context);
    this.#cloud(context);
    this.#fan(context, now.means);
    this.#points(context, now);
  }

  /** Samples, faint, under the means; while these travel, none. */
  #cloud(context) {
    const { samples, of, means } = this.data;
    if (!samples || this.from) return;
    context.globalAlpha = 0.35;
    samples.forEach((point, i) => {
      const [x, y] = this.#project(point);
      context.fillStyle = classColor(of[i], means.length);
      context.beginPath();
      context.arc(x, y, 1.9, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
  }

  #ground(context) {
    context.lineWidth = 1;
    context.strokeStyle = color("--rule");
    for (const radius of [0.5, 1]) {
      context.beginPath();
      for (let i = 0; i <= 72; i += 1) {
        const angle = (i * Math.PI) / 36;
        const [x, y] = this.#project([0, radius * Math.cos(angle), radius * Math.sin(angle)]);
        if (i) context.lineTo(x, y);
        else context.moveTo(x, y);
      }
      context.stroke();
    }
    const [x, y] = this.#project([0.7, 0, 0]);
    const [ox, oy] = this.#project([0, 0, 0]);
    context.setLineDash([3, 4]);
    context.strokeStyle = color("--faint");
    context.beginPath();
    context.moveTo(ox, oy);
    context.lineTo(x, y);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = color("--faint");
    context.font = `italic 12px ${color("--serif")}`;
    context.textAlign = "left";
    context.fillText(2 * this.cx < 170 ? "┊ mean" : "┊ mean of all features", 4, 14);
  }

  /** A faint surface from the origin to neighboring means: the umbrella. */
  #fan(context, means) {
    if (means.length < 3 || means.length > 60) return;
    const around = means.map((p, k) => [Math.atan2(p[2], p[1]), k]).sort((a, b) => a[0] - b[0]).map(([, k]) => k);
    const [ox, oy] = this.#project([0, 0, 0]);
    context.globalAlpha = 0.07;
    around.forEach((k, i) => {
      const [x, y] = this.#project(means[k]);
      const [nx, ny] = this.#project(means[around[(i + 1) % around.length]]);
      context.fillStyle = classColor(k, means.length);
      context.beginPath();
      context.moveTo(ox, oy);
      context.lineTo(x, y);
      context.lineTo(nx, ny);
      context.fill();
    });
    context.globalAlpha = 1;
  }

  #points(context, { means, rows }) {
    const origin = this.#project([0, 0, 0]);
    const own = rows.length === means.length;
    const small = means.length > 40;
    const items = [
      ...rows.map((p, k) => ({ k, row: true, at: this.#project(p.map((x) => x * BEYOND)) })),
      ...means.map((p, k) => ({ k, row: false, at: this.#project(p) })),
    ].sort((a, b) => b.at[2] - a.at[2]);
    this.spots = items.filter((item) => !item.row);
    for (const { k, row, at } of items) {
      const [x, y, depth] = at;
      const paint = row && !own ? color("--soft") : classColor(k, means.length);
      const clear = Math.min(Math.max(0.92 - 0.3 * depth, 0.4), 1);
      context.globalAlpha = row ? 0.75 * clear : clear;
      context.strokeStyle = context.fillStyle = paint;
      if (row) {
        const r = small ? 2.2 : 4;
        context.lineWidth = 1.5;
        context.beginPath();
        context.moveTo(x, y - r);
        context.lineTo(x + r, y);
        context.lineTo(x, y + r);
        context.lineTo(x - r, y);
        context.closePath();
        context.stroke();
        continue;
      }
      context.lineWidth = small ? 1 : 2.2;
      context.beginPath();
      context.moveTo(origin[0], origin[1]);
      context.lineTo(x, y);
      context.stroke();
      context.beginPath();
      context.arc(x, y, (small ? 2.6 : 5.2) * (k === this.hot ? 1.5 : 1), 0, 2 * Math.PI);
      context.fill();
      if (means.length <= 24) this.#label(context, k, at, origin);
    }
    context.globalAlpha = 1;
  }

  #label(context, k, [x, y], [ox, oy]) {
    const away = Math.hypot(x - ox, y - oy) || 1;
    context.fillStyle = color("--ink");
    context.font = `600 11.5px ${color("--sans")}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const text = String(this.data.names?.[k] ?? k).slice(0, 12);
    context.fillText(text, x + ((x - ox) / away) * 21, y + ((y - oy) / away) * 17);
    context.textBaseline = "alphabetic";
  }

  #listen() {
    const { canvas } = this;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return this.#hover(event);
      this.yaw -= (event.clientX - last[0]) * 0.01;
      this.tilt = Math.min(Math.max(this.tilt + (event.clientY - last[1]) * 0.008, -1.5), 1.5);
      last = [event.clientX, event.clientY];
      this.draw();
      return this.onTurn?.();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    canvas.addEventListener("pointerleave", () => this.onHover(null));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0.12, 0], ArrowRight: [-0.12, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08] }[event.key];
      if (step) {
        this.yaw += step[0];
        this.tilt = Math.min(Math.max(this.tilt + step[1], -1.5), 1.5);
      } else if (event.key === "+" || event.key === "-") {
        this.zoom = Math.min(Math.max(this.zoom * (event.key === "+" ? 1.1 : 0.9), 0.5), 4);
      } else return;
      event.preventDefault();
      this.draw();
      this.onTurn?.();
    });
  }

  #hover(event) {
    const box = this.canvas.getBoundingClientRect();
    const near = (this.spots ?? [])
      .map(({ k, at }) => [Math.hypot(at[0] - (event.clientX - box.left), at[1] - (event.clientY - box.top)), k])
      .sort((a, b) => a[0] - b[0])[0];
    const hot = near && near[0] < 14 ? near[1] : -1;
    if (hot !== this.hot) {
      this.hot = hot;
      this.draw();
    }
    this.onHover(hot < 0 ? null : hot, event);
  }
}
