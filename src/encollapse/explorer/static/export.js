// A page without a server: the path was computed before, and what lies between its points is interpolated.

import { Frame } from "./frame.js";
import { $, color, digits, el, symbols } from "./tools.js";

const SWEEP = 9000; // milliseconds of a whole play
const WORDY = 44; // pixels of a cell that holds its number
const SVG = "http://www.w3.org/2000/svg";

const data = JSON.parse($("data").textContent);
const { nodes } = data;
const frame = new Frame($("frame"));
let raf = null;

const mix = (a, b, share) => (a === null || b === null ? null : Array.isArray(a) ? a.map((x, i) => mix(x, b[i], share)) : a + (b - a) * share);

/** The state at a position of the slider, between the two nodes that enclose it. */
function at(position) {
  let right = nodes.findIndex((node) => node.position >= position);
  if (right <= 0) right = 1;
  const [from, to] = [nodes[right - 1], nodes[right]];
  const share = (position - from.position) / (to.position - from.position);
  return Object.fromEntries(["means", "rows", "cosines", "mean", "bias", "loss", "shown"].map((name) => [name, mix(from[name], to[name], share)]));
}

function decayAt(position) {
  if (position <= 0) return 0;
  if (position >= 1000) return Infinity;
  return data.lowest * (data.highest / data.lowest) ** ((position - 1) / 998);
}

function show(position) {
  const now = at(position);
  $("position").value = position;
  $("position").style.setProperty("--filled", `${position / 10}%`);
  $("position").setAttribute("aria-valuetext", `λ_b = ${digits(decayAt(position))}`);
  $("bias_decay").textContent = digits(decayAt(position));
  frame.show({ means: now.means, rows: now.rows, axes: "turning", empty: data.empty, names: data.names }, false);
  $("frame-note").textContent = data.empty ? "" : `These three directions hold ${Math.round(100 * now.shown)} % of the squared length.`;
  drawGram(now.cosines);
  const numbers = [["mean cosine", now.mean], ["|b|", now.bias], ["critical λ_b*", data.critical], ["minimum", now.loss]];
  $("glance").replaceChildren(...numbers.map(([name, number]) => el("div", {}, el("dt", {}, ...symbols(name)), el("dd", {}, digits(number)))));
  drawMark(position, now);
}

// The chart

const margin = { left: 46, right: 14, top: 8, bottom: 24 };
let scales = null;

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function drawChart() {
  const chart = $("chart");
  const { clientWidth: w, clientHeight: h } = chart;
  if (!w || !h) return;
  chart.setAttribute("viewBox", `0 0 ${w} ${h}`);
  const x = (position) => margin.left + ((w - margin.left - margin.right) * position) / 1000;
  const split = 0.62 * (h - margin.bottom);
  const known = nodes.filter((node) => node.mean !== null);
  const low = Math.min(-0.02, ...known.map((node) => node.least));
  const high = Math.max(0.02, ...known.map((node) => node.most));
  const most = Math.max(1e-9, ...nodes.map((node) => node.bias));
  const cosine = (value) => margin.top + ((split - margin.top - 8) * (high - value)) / (high - low);
  const bias = (value) => h - margin.bottom - ((h - margin.bottom - split - 12) * value) / most;
  scales = { x, cosine, bias };
  const text = (words, left, top, anchor = "middle", paint = "--soft") => {
    const made = svg("text", { x: left, y: top, "text-anchor": anchor, "font-size": 11.5, fill: color(paint) });
    made.textContent = words;
    return made;
  };
  const path = (points, attributes) => svg("path", { d: `M${points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`, fill: "none", ...attributes });
  const parts = [];
  for (const [position, words] of data.ticks) parts.push(svg("line", { x1: x(position), x2: x(position), y1: margin.top, y2: h - margin.bottom, stroke: color("--rule") }), text(words, x(position), h - 8));
  for (const value of [low, 0, high]) if (value === 0 || Math.abs(value) > 0.05) parts.push(svg("line", { x1: margin.left, x2: w - margin.right, y1: cosine(value), y2: cosine(value), stroke: color("--rule") }), text(digits(value, 2), margin.left - 6, cosine(value) + 4, "end"));
  for (const value of [0, most]) parts.push(svg("line", { x1: margin.left, x2: w - margin.right, y1: bias(value), y2: bias(value), stroke: color("--rule") }), text(digits(value, 2), margin.left - 6, bias(value) + 4, "end"));
  if (known.length) {
    const band = [...known.map((node) => [x(node.position), cosine(node.most)]), ...known.toReversed().map((node) => [x(node.position), cosine(node.least)])];
    parts.push(path(band, { fill: color("--band"), stroke: "none" }));
    parts.push(path(known.map((node) => [x(node.position), cosine(node.mean)]), { stroke: color("--accent"), "stroke-width": 2.4 }));
  }
  parts.push(path(nodes.map((node) => [x(node.position), bias(node.bias)]), { stroke: color("--high"), "stroke-width": 2.4, "stroke-dasharray": "7 3" }));
  if (data.turning !== null) {
    const place = x(data.turning);
    parts.push(svg("line", { x1: place, x2: place, y1: margin.top, y2: h - margin.bottom, stroke: color("--faint"), "stroke-dasharray": "2 3" }));
  }
  parts.push(text("cosine", margin.left + 4, margin.top + 12, "start", "--accent"), text("|b|", w - margin.right - 4, split + 20, "end", "--high"));
  const mark = svg("g", { id: "mark" });
  chart.replaceChildren(...parts, mark);
}

function drawMark(position, now) {
  const mark = document.getElementById("mark");
  if (!mark || !scales) return;
  const { x, cosine, bias } = scales;
  const line = svg("line", { x1: x(position), x2: x(position), y1: margin.top, y2: bias(0), stroke: color("--accent"), "stroke-width": 1.5 });
  const beads = [[now.mean, cosine, "--accent"], [now.bias, bias, "--high"]].filter(([value]) => value !== null).map(([value, scale, paint]) => svg("circle", { cx: x(position), cy: scale(value), r: 5, fill: color(paint), stroke: color("--panel"), "stroke-width": 2 }));
  mark.replaceChildren(line, ...beads);
}

// The matrix

function drawGram(cosines) {
  const canvas = $("gram");
  const side = Math.min(canvas.clientWidth, canvas.clientHeight);
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const k = data.names.length;
  const cell = side / k;
  const left = (canvas.clientWidth - side) / 2;
  const gap = k <= 24 ? 1 : 0;
  context.font = `12.5px ${getComputedStyle(canvas).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const channels = (name) => [1, 3, 5].map((i) => parseInt(color(name).slice(i, i + 2), 16));
  const [low, zero, high] = ["--low", "--zero", "--high"].map(channels);
  let next = 0;
  for (let i = 0; i < k; i += 1) {
    for (let j = i; j < k; j += 1) {
      const value = i === j ? 1 : cosines[next++];
      if (value === null) continue;
      const end = value < 0 ? low : high;
      const paint = zero.map((from, c) => Math.round(from + (end[c] - from) * Math.abs(value)));
      for (const [row, column] of i === j ? [[i, i]] : [[i, j], [j, i]]) {
        context.fillStyle = `rgb(${paint.join(",")})`;
        context.fillRect(left + column * cell, row * cell, cell - gap, cell - gap);
        if (cell < WORDY) continue;
        context.fillStyle = 0.2126 * paint[0] + 0.7152 * paint[1] + 0.0722 * paint[2] < 105 ? "#ffffff" : "#14171c";
        context.fillText(digits(value, 2), left + (column + 0.5) * cell, (row + 0.5) * cell);
      }
    }
  }
}

// Playing, theme

function label(words, sign) {
  $("play").setAttribute("aria-label", words);
  $("play").firstElementChild.textContent = sign;
}

function halt() {
  cancelAnimationFrame(raf);
  raf = null;
  label("Play: sweep the bias decay", "▶");
}

function play() {
  const from = Number($("position").value) >= 1000 ? 0 : Number($("position").value);
  const began = performance.now();
  label("Pause the sweep of the bias decay", "❚❚");
  const tick = () => {
    const position = Math.min(from + ((performance.now() - began) / SWEEP) * 1000, 1000);
    show(position);
    if (position >= 1000) halt();
    else raf = requestAnimationFrame(tick);
  };
  raf = requestAnimationFrame(tick);
}

const repaint = () => {
  drawChart();
  show(Number($("position").value));
};

$("critical-note").replaceChildren(...symbols(data.note));
$("position").value = data.start;
$("position").addEventListener("input", () => {
  halt();
  show(Number($("position").value));
});
$("play").addEventListener("click", () => (raf === null ? play() : halt()));
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  repaint();
});
new ResizeObserver(repaint).observe($("chart"));
repaint();
document.documentElement.dataset.ready = "1";
