// The cells of a matrix while it moves: painted over plotly's at once, which follow when the moving pauses.

import { color } from "./tools.js";

const PAUSE = 140; // milliseconds without a move after which plotly draws, and hover values are right again

const channels = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));

const STEPS = 255; // colors on either side of zero
const tables = new Map();

/** Colors from -1 to 1 between the ends of the scale, as pixels. */
function table() {
  const ends = ["--low", "--zero", "--high"].map(color);
  const key = ends.join();
  if (!tables.has(key)) {
    const [low, zero, high] = ends.map(channels);
    const bytes = new Uint8ClampedArray(4 * (2 * STEPS + 1));
    for (let at = -STEPS; at <= STEPS; at += 1) {
      const end = at < 0 ? low : high;
      const mixed = zero.map((from, i) => from + ((end[i] - from) * Math.abs(at)) / STEPS);
      bytes.set([...mixed, 255], 4 * (at + STEPS));
    }
    tables.set(key, new Uint32Array(bytes.buffer));
  }
  return tables.get(key);
}

/** Paint `rows` over the chart now; `settle` draws them for good later. */
export function paintCells(div, rows, most, settle) {
  const { xaxis, yaxis } = div._fullLayout;
  let canvas = div.querySelector("canvas.cells");
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.className = "cells";
    div.append(canvas);
  }
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const [w, h] = [xaxis._length, yaxis._length];
  canvas.style.left = `${xaxis._offset}px`;
  canvas.style.top = `${yaxis._offset}px`;
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(h * ratio);
  canvas.hidden = false;
  const context = canvas.getContext("2d");
  const [n, m] = [rows.length, rows[0].length];
  const image = new ImageData(m, n);
  const pixels = new Uint32Array(image.data.buffer);
  const colors = table();
  for (let i = 0; i < n; i += 1) {
    const row = rows[i];
    for (let j = 0; j < m; j += 1) {
      const share = row[j] / most;
      // A vector that is zero has no cosine: its cells stay empty.
      if (!Number.isNaN(share)) pixels[i * m + j] = colors[Math.round(STEPS * (1 + Math.min(Math.max(share, -1), 1)))];
    }
  }
  const small = new OffscreenCanvas(m, n);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.fillStyle = color("--panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (Math.max(n, m) <= 24) {
    for (let i = 1; i < n; i += 1) context.fillRect(0, Math.round((i * canvas.height) / n) - ratio / 2, canvas.width, ratio);
    for (let j = 1; j < m; j += 1) context.fillRect(Math.round((j * canvas.width) / m) - ratio / 2, 0, ratio, canvas.height);
  }
  clearTimeout(div.settling);
  div.settling = setTimeout(async () => {
    await settle();
    canvas.hidden = true;
  }, PAUSE);
}
