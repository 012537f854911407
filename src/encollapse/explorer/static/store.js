// The controls as text, and their form in the address.

// What may be long stands behind the #, which no server and no log ever sees.
const LONG = new Set(["matrix", "similarity", "tree", "option.S", "option.tree", "option.label_sets"]);

export const store = { values: {}, defaults: {}, slider: [], start: null };

let written = 0;
let timer = null;

// Names in addresses that were kept from earlier releases.
const RENAMED = { centred: "centered" };

/** Settings of the present address. */
export function readAddress() {
  const found = {};
  for (const part of [location.search.slice(1), location.hash.slice(1)]) {
    for (const [name, text] of new URLSearchParams(part)) found[RENAMED[name] ?? name] = text;
  }
  return found;
}

/** Write the last good state into the address, at most a few times a second. */
export function writeAddress(address) {
  const search = new URLSearchParams();
  const hash = new URLSearchParams();
  for (const [name, text] of Object.entries(address)) (LONG.has(name) ? hash : search).set(name, text);
  const tail = [search.toString() && `?${search}`, hash.toString() && `#${hash}`].filter(Boolean).join("");
  clearTimeout(timer);
  const write = () => {
    written = performance.now();
    if (location.search + location.hash !== tail) history.replaceState(null, "", tail || "/");
  };
  if (performance.now() - written > 300) write();
  else timer = setTimeout(write, 310);
}

export function value(name) {
  return store.values[name] ?? store.defaults[name] ?? "";
}

/** Position of the slider nearest to a bias decay. */
export function positionOf(decay) {
  const { slider } = store;
  const last = slider.length - 1;
  if (decay === 0) return 0;
  if (decay === Infinity) return last;
  const share = Math.log(decay / slider[1]) / Math.log(slider[last - 1] / slider[1]);
  return Math.min(Math.max(1 + Math.round(share * (last - 2)), 1), last - 1);
}

export function decayText(position) {
  const decay = store.slider[position];
  return decay === Infinity ? "inf" : String(decay);
}

export function decayOf(text) {
  return /^\+?(inf|infinity|∞)$/i.test(text.trim()) ? Infinity : Number(text);
}
