// Charts, drawn by plotly; moving the bias decay changes data and nothing else.

import { paintCells } from "./cells.js";
import { color, digits } from "./tools.js";

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
const END = 0.06; // what the ends 0 and ∞ keep of the axis

function base(extra = {}) {
  return {
    margin: { l: 46, r: 12, t: 8, b: 30 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: color("--sans"), size: 11.5, color: color("--soft") },
    hoverlabel: { bgcolor: color("--ink"), bordercolor: color("--ink"), font: { color: color("--paper"), size: 12.5, family: color("--sans") } },
    showlegend: false,
    dragmode: false,
    hovermode: "closest",
    ...extra,
  };
}

function axis(extra = {}) {
  return {
    gridcolor: color("--rule"),
    zerolinecolor: color("--rule"),
    linecolor: color("--rule"),
    tickcolor: color("--rule"),
    ticks: "",
    fixedrange: true,
    ...extra,
  };
}

/** Where a bias decay stands on an axis from 0 to 1 that has room for 0 and ∞. */
export function xOf(decay, slider) {
  if (decay === 0) return 0;
  if (decay === Infinity || decay === "inf") return 1;
  const low = slider[1];
  const high = slider[slider.length - 2];
  const share = Math.log(decay / low) / Math.log(high / low);
  return Math.min(Math.max(END + (1 - 2 * END) * share, END / 2), 1 - END / 2);
}

/** Position of the slider at a place on that axis. */
export function positionAt(x, slider) {
  const last = slider.length - 1;
  if (x < END / 2) return 0;
  if (x > 1 - END / 2) return last;
  return Math.min(Math.max(1 + Math.round(((x - END) / (1 - 2 * END)) * (last - 2)), 1), last - 1);
}

const TICKS = [0, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1000, Infinity];
const FEW_TICKS = [0, 1e-2, 1, 100, Infinity];
const TICK_TEXT = ["0", "10⁻⁴", "10⁻³", "0.01", "0.1", "1", "10", "100", "10³", "∞"];

function decayAxis(slider, width, extra = {}) {
  const ticks = width < 440 ? FEW_TICKS : TICKS;
  const ticktext = ticks.map((t) => TICK_TEXT[TICKS.indexOf(t)]);
  return axis({ range: [-0.015, 1.015], tickvals: ticks.map((t) => xOf(t, slider)), ticktext, tickangle: 0, zeroline: false, ...extra });
}

const label = (decay) => (decay === "inf" ? "∞" : digits(decay));

/** Mean cosine with the band of all pairs above, length of the bias below. */
export function drawLine(div, line, points, slider, { bias = true, selected = null } = {}) {
  const x = line ? line.bias_decay.map((d) => xOf(d, slider)) : [];
  const text = line ? line.bias_decay.map(label) : [];
  const paint = color("--accent");
  const warm = color("--high");
  const traces = [];
  if (line) {
    traces.push(
      { x, y: line.most, mode: "lines", line: { width: 0 }, hoverinfo: "skip" },
      { x, y: line.least, mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: color("--band"), hoverinfo: "skip" },
      { x, y: line.mean, text, mode: "lines", line: { color: paint, width: 2.4 }, hovertemplate: "λ_b = %{text}<br>mean cosine %{y:.4f}<extra></extra>" },
    );
    if (bias) traces.push({ x, y: line.bias, text, mode: "lines", yaxis: "y2", line: { color: warm, width: 2.4 }, hovertemplate: "λ_b = %{text}<br>|b| = %{y:.4f}<extra></extra>" });
  }
  const measured = (key, yaxis, paintOf) => ({
    x: points.map((p) => xOf(p.bias_decay, slider)),
    y: points.map((p) => p[key]),
    customdata: points.map((p) => p.id),
    text: points.map((p) => `${plain(p.label)}<br>Gram error ${digits(p.gram_error)}`),
    mode: "markers",
    yaxis,
    marker: {
      size: points.map((p) => (p.id === selected ? 13 : 8.5)),
      color: points.map((p) => (p.id === selected ? color("--panel") : paintOf)),
      symbol: points.map((p) => (p.converged === false ? "circle-open" : "circle")),
      line: { color: points.map((p) => (p.id === selected ? color("--ink") : color("--panel"))), width: points.map((p) => (p.id === selected ? 2.2 : 1.2)) },
    },
    hovertemplate: "%{text}<extra></extra>",
  });
  if (points.length) {
    traces.push(measured("cosine", "y", color("--ink")));
    if (bias) traces.push(measured("bias", "y2", color("--ink")));
  }
  const critical = line && typeof line.turning === "number" && line.turning > 0 ? xOf(line.turning, slider) : null;
  const shapes = critical === null ? [] : [{ type: "line", xref: "x", yref: "paper", x0: critical, x1: critical, y0: 0, y1: 1, line: { color: color("--faint"), width: 1.2, dash: "dot" }, layer: "below" }];
  const annotations = critical === null ? [] : [{ x: critical, xref: "x", y: 1, yref: "paper", text: line.turning_name.replace("λ_b", "λ<sub>b</sub>"), showarrow: false, xanchor: "left", yanchor: "top", xshift: 3, yshift: -16, font: { color: color("--soft"), size: 12 } }];
  const cosines = line ? [...line.least, ...line.most].filter((v) => v !== null) : points.map((p) => p.cosine);
  const low = Math.min(-0.02, ...cosines);
  const high = Math.max(0.02, ...cosines);
  const pad = 0.08 * (high - low);
  const layout = base({
    xaxis: decayAxis(slider, div.clientWidth, { anchor: bias ? "y2" : "y" }),
    yaxis: axis({ domain: bias ? [0.42, 1] : [0, 1], range: [low - pad, high + pad], title: { text: "cosine", standoff: 4 }, zerolinewidth: 1.2, zerolinecolor: color("--faint"), nticks: 6 }),
    margin: { l: 52, r: 12, t: 8, b: 26 },
    shapes,
    annotations,
  });
  if (bias) layout.yaxis2 = axis({ domain: [0, 0.34], title: { text: "|b|", standoff: 4 }, rangemode: "tozero", nticks: 4 });
  return Plotly.react(div, traces, layout, CONFIG);
}

/** Text as plotly shows it unchanged: it would read tags. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Pixels in a chart of a place on its axes. */
export function pixels(div, x, y = null, name = "yaxis") {
  const full = div._fullLayout;
  if (!full?.xaxis) return null;
  const vertical = full[name];
  return {
    left: full.xaxis._offset + full.xaxis.l2p(x),
    top: y === null || !vertical ? null : vertical._offset + vertical.l2p(y),
    from: full._size.t,
    height: full._size.h,
  };
}

/** Place on the horizontal axis under a pixel. */
export function placeAt(div, pixel) {
  const { xaxis } = div._fullLayout;
  return xaxis.p2l(pixel - xaxis._offset);
}

function scale() {
  return [
    [0, color("--low")],
    [0.5, color("--zero")],
    [1, color("--high")],
  ];
}

/** A matrix as a picture with values under the pointer, redrawn in place while its shape and meaning stay; `quick`, its
 * cells are painted at once and the values follow. */
export function drawMatrix(div, rows, { meaning = "cosine", what = "classes", most = 1, names = null, square = true, quick = false } = {}) {
  const [n, m] = [rows.length, rows[0]?.length ?? 0];
  const key = [n, m, meaning, what, document.documentElement.dataset.theme, names?.join()].join("|");
  if (div.dataset.key === key && div._fullLayout) {
    const settle = () => Plotly.restyle(div, { z: [rows], zmin: [-most], zmax: [most] }, [0]);
    if (!quick) return settle();
    paintCells(div, rows, most, settle);
    return Promise.resolve(div);
  }
  clearTimeout(div.settling);
  div.querySelector("canvas.cells")?.remove();
  div.dataset.key = key;
  const ticks = (count) => {
    const every = Math.ceil(count / 12);
    const vals = Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every);
    return { tickvals: vals, ticktext: vals.map((v) => (names && count === names.length ? plain(names[v].slice(0, 8)) : v)) };
  };
  const trace = {
    type: "heatmap",
    z: rows,
    zmin: -most,
    zmax: most,
    colorscale: scale(),
    xgap: m <= 24 ? 1 : 0,
    ygap: n <= 24 ? 1 : 0,
    hoverongaps: false,
    hovertemplate: what === "entries" ? "row %{y}, class %{x}<br>%{z:.4f}<extra></extra>" : `${what} %{y} and %{x}<br>${meaning} %{z:.5f}<extra></extra>`,
    colorbar: { thickness: 8, len: 0.92, outlinewidth: 0, nticks: 5, tickfont: { size: 10.5 }, x: 1.01, xpad: 2 },
  };
  const layout = base({
    margin: { l: names ? 44 : 28, r: 8, t: 4, b: 22 },
    xaxis: axis({ ...ticks(m), showgrid: false, zeroline: false, constrain: "domain", range: [-0.5, m - 0.5] }),
    yaxis: axis({ ...ticks(n), showgrid: false, zeroline: false, range: [n - 0.5, -0.5], ...(square ? { scaleanchor: "x", constrain: "domain" } : {}) }),
  });
  return Plotly.react(div, [trace], layout, CONFIG);
}

/** Largest absolute entry, for a scale that is even about zero. */
export function largest(rows) {
  let most = 0;
  for (const row of rows) for (const entry of row) if (Math.abs(entry) > most) most = Math.abs(entry);
  return most || 1;
}

/** What the labels offer in each direction, the threshold, and what is learned. */
export function drawSpectrum(div, { offered, learned, threshold }) {
  const x = learned.map((_, i) => i + 1);
  const first = offered ?? learned.map(() => null);
  const key = [learned.length, offered === null, document.documentElement.dataset.theme].join("|");
  const most = Math.max(threshold * 1.15, ...first, ...learned) * 1.16 || 1;
  const kept = div.dataset.key === key && div._fullLayout;
  const [before, mark] = kept ? [div._fullLayout.yaxis.range[1], div._fullLayout.shapes[0].y0] : [0, null];
  // The axis moves only where the bars would leave it or shrink to nothing: moving it costs a second layout.
  const top = most > before || most < before / 2 ? most : before;
  if (kept && mark === threshold && top === before) return Plotly.restyle(div, { y: [first, learned] }, [0, 1]);
  div.dataset.key = key;
  const bar = (y, paint, name) => ({ type: "bar", x, y, marker: { color: paint, line: { width: 0 } }, hovertemplate: `direction %{x}<br>${name} %{y:.5f}<extra></extra>` });
  const layout = base({
    barmode: "overlay",
    bargap: learned.length > 40 ? 0 : 0.28,
    xaxis: axis({ title: { text: "direction", standoff: 4 }, showgrid: false, zeroline: false, tick0: 1, dtick: Math.ceil(learned.length / 10), tickformat: "d", range: [0.4, learned.length + 0.6] }),
    yaxis: axis({ range: [0, top], nticks: 6, zeroline: false }),
    margin: { l: 44, r: 10, t: 8, b: 36 },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: threshold, y1: threshold, line: { color: color("--warm"), width: 1.6, dash: "dash" } }],
    annotations: [{ xref: "paper", yref: "paper", x: 1, y: 1, text: "┄ threshold c", showarrow: false, xanchor: "right", yanchor: "top", font: { color: color("--warm"), size: 11.5 } }],
  });
  return Plotly.react(div, [bar(first, color("--offered"), "offered"), bar(learned, color("--accent"), "learned")], layout, CONFIG);
}

/** One curve of a training. */
export function drawHistory(div, history, name) {
  const values = history[name].map((v) => v);
  const positive = values.every((v) => v === null || v > 0);
  const spread = positive && Math.max(...values.filter((v) => v)) / Math.min(...values.filter((v) => v)) > 30;
  const layout = base({
    xaxis: axis({ title: { text: "epoch", standoff: 4 }, showgrid: false }),
    yaxis: axis({ type: spread ? "log" : "linear", exponentformat: "power", nticks: 6 }),
    margin: { l: 58, r: 12, t: 8, b: 36 },
  });
  const trace = { x: history.epoch, y: values, mode: "lines+markers", line: { color: color("--accent"), width: 2 }, marker: { size: 4 }, hovertemplate: "epoch %{x}<br>%{y:.4g}<extra></extra>" };
  return Plotly.react(div, [trace], layout, CONFIG);
}

/** Curves against the logarithm of time, with faint lines at the levels that they end at. */
export function drawCurves(div, curves, { title, logarithmic = false, levels = [] }) {
  const traces = curves.map(({ x, y, name, color: paint, width = 2, dash = "solid" }) => ({ x, y, name, mode: "lines", line: { color: paint, width, dash }, hovertemplate: `${name}<br>t = %{x:.4g}<br>%{y:.4g}<extra></extra>` }));
  const layout = base({
    xaxis: axis({ type: "log", title: { text: "time t", standoff: 4 }, showgrid: false, exponentformat: "power", nticks: 8, dtick: 1 }),
    yaxis: axis({ type: logarithmic ? "log" : "linear", title: { text: title, standoff: 4 }, exponentformat: "power", nticks: 6, zeroline: false, ...(logarithmic ? {} : { rangemode: "tozero" }) }),
    margin: { l: 62, r: 12, t: 8, b: 36 },
    shapes: levels.map((y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: color("--faint"), width: 1, dash: "dot" }, layer: "below" })),
  });
  return Plotly.react(div, traces, layout, CONFIG);
}
