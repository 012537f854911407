// Small helpers: elements, numbers, colors.

export const $ = (id) => document.getElementById(id);

/** Make an element; text is set as text, never as markup. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Rows of a matrix that the server packed. */
export function unpack({ shape, data }) {
  const raw = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const flat = new Float64Array(raw.buffer);
  return Array.from({ length: shape[0] }, (_, i) => flat.subarray(i * shape[1], (i + 1) * shape[1]));
}

export const still = matchMedia("(prefers-reduced-motion: reduce)");

const colors = new Map();

/** A color of the present theme; asking the browser each time would settle styles at every stroke. */
export function color(name) {
  const key = `${document.documentElement.dataset.theme} ${name}`;
  if (!colors.has(key)) colors.set(key, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colors.get(key);
}

export const isDark = () => document.documentElement.dataset.theme === "dark";

// Up to seven classes: Okabe and Ito. More: viridis, cut where it would vanish on the background.
const FEW = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00"];
const FEW_DARK = ["#56b4e9", "#f0934c", "#2fc795", "#e29cc4", "#f2c14e", "#9ad4f5", "#d8cf6a"];
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

export function classColor(k, number) {
  if (number <= 7) return (isDark() ? FEW_DARK : FEW)[k];
  const [from, to] = isDark() ? [0.22, 1] : [0, 0.84];
  const place = (from + ((to - from) * k) / (number - 1)) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mix = (a, b) => Math.round(a + (b - a) * (place - i));
  const part = (text, j) => parseInt(text.slice(1 + 2 * j, 3 + 2 * j), 16);
  return `rgb(${[0, 1, 2].map((j) => mix(part(VIRIDIS[i], j), part(VIRIDIS[i + 1], j))).join(",")})`;
}

/** A number in few digits, with a real minus sign. */
export function digits(value, count = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === "inf" || value === Infinity) return "∞";
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(+value.toPrecision(count)).replace("-", "−");
  const [mantissa, exponent] = value.toExponential(count - 1).split("e");
  const raised = [...String(Number(exponent))].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
  return `${Number(mantissa)}\u00a0×\u00a010${raised}`.replace("-", "−");
}

export const save = (name, text) => saveUrl(name, URL.createObjectURL(new Blob([text], { type: "application/json" })));

export function saveUrl(name, url) {
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Text with the indices of symbols such as λ_b set as subscripts. */
export function symbols(text) {
  return text.split(/(?<=[\p{L}\p{M}\d|])_(b|B|W|T|H|k|l|F|meas|pred)(?![A-Za-z])/u).map((part, i) => (i % 2 ? el("sub", {}, part) : part));
}
