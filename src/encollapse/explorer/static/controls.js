// The settings beside the pictures, made from the catalog, with a place for a message beside each.

import { $, el } from "./tools.js";
import { store, value } from "./store.js";

const LOW = -6; // decades of the sliders of λ_W and λ_H
const HIGH = 0;

let change = () => {};

/** Build every control; `changed(name, text, soon)` is called when one moves. */
export function buildControls(start, changed) {
  change = changed;
  document.querySelector("#controls .groups").replaceChildren(
    group("labels", "Labels", [
      select("encoding", "Encoding", [...start.encodings.map((e) => [e.name, e.name]), ["own", "your own …"]]),
      el("p", { class: "hint", id: "encoding-summary" }),
      el("div", { id: "options", style: "display:grid;gap:8px" }),
      select("beside", "Compare with", [["", "nothing"], ...start.encodings.map((e) => [e.name, e.name])]),
    ]),
    group("target-group", "Wanted geometry", [
      select("target", "Target", [["simplex", "simplex frame"], ["orthogonal", "orthogonal frame"], ["hierarchy", "hierarchy"], ["similarity", "similarities"]]),
      area("tree", "Tree", '[["cat", "dog"], ["car", "truck"]]', false),
      area("similarity", "Similarities", "1 0.5 0\n0.5 1 0\n0 0 1", true),
      select("size", "Size", [["one_hot", "like one-hot"], ["unit_codewords", "unit codewords"], ["unit_outputs", "unit outputs"], ["as_given", "as given"]]),
    ]),
    group("start", "Start of the training", [text("start_scale", "Size"), text("start_seed", "Random seed")]),
    group("data", "Classes", [
      numberWithSlider("classes", "Classes K", 2, 100),
      select("counts", "Counts", [["balanced", "balanced"], ["step", "step"], ["longtail", "long tail"], ["typed", "typed"]]),
      text("samples", "Samples"),
      text("imbalance", "Imbalance"),
      area("typed", "Samples of each class", "100, 50, 20", false),
    ]),
    group("decays", "Regularization", [
      select("recipe", "Recipe", [["none", "separate"], ["batch-norm", "batch norm"]]),
      decade("weight_decay", "λ", "W"),
      decade("feature_decay", "λ", "H"),
      el("label", { class: "check" }, el("input", { type: "checkbox", id: "hold", checked: true }), el("span", { class: "term", data: { tip: "hold" } }, "keep t when classes change")),
    ]),
    group("model", "Model", [
      select("loss", "Loss", [["mse", "squared error"], ["cross_entropy", "cross-entropy"]]),
      select("features", "Features", [["linear", "linear"], ["relu", "ReLU"]]),
      numberWithSlider("depth", "Depth", 1, 8),
      text("feature_dim", "Feature dim.", "automatic"),
      part("spread", "Spread"),
    ]),
  );
}

function group(id, title, children) {
  return el("fieldset", { id }, el("legend", {}, title), ...children);
}

function wrap(name, title, input, { tall = false, tip = name, extra = [] } = {}) {
  const words = typeof title === "string" ? [title] : title;
  const term = store.start.tooltips[tip] ? el("span", { class: "term", data: { tip } }, ...words) : el("span", {}, ...words);
  return el(
    "div",
    { class: tall ? "field tall" : "field", id: `field-${name}` },
    el("label", { htmlFor: name }, term),
    input,
    ...extra,
    el("p", { class: "error", id: `error-${name}`, hidden: true, data: { errorFor: name } }),
  );
}

function attributes(name) {
  return { id: name, name, "aria-describedby": `error-${name}` };
}

function select(name, title, options) {
  const input = el("select", { ...attributes(name), onchange: () => change(name, input.value) }, ...options.map(([v, t]) => el("option", { value: v }, t)));
  return wrap(name, title, input);
}

function textInput(name, placeholder = "") {
  const input = el("input", {
    ...attributes(name), type: "text", placeholder, maxLength: 40, spellcheck: false,
    autocomplete: "off",
    oninput: () => change(name, input.value, true),
    onchange: () => change(name, input.value),
  });
  return input;
}

function text(name, title, placeholder = "", tip = name) {
  return wrap(name, title, textInput(name, placeholder), { tip });
}

function numberWithSlider(name, title, least, most) {
  const slider = el("input", { type: "range", min: least, max: most, step: 1, id: `${name}_slider`, "aria-label": name, oninput: () => change(name, slider.value) });
  return wrap(name, title, el("div", { class: "pair" }, slider, textInput(name)));
}

function part(name, title) {
  const slider = el("input", { type: "range", min: 0, max: 1, step: 0.02, id: `${name}_slider`, "aria-label": name, oninput: () => change(name, slider.value) });
  return wrap(name, title, el("div", { class: "pair" }, slider, textInput(name)));
}

function decade(name, letter, index) {
  const slider = el("input", {
    type: "range", min: LOW, max: HIGH, step: 0.02, id: `${name}_slider`, "aria-label": name.replace("_", " "),
    oninput: () => change(name, String(Number((10 ** slider.value).toPrecision(3)))),
  });
  return wrap(name, [letter, el("sub", {}, index)], el("div", { class: "pair" }, slider, textInput(name)));
}

function area(name, title, placeholder, file, tip = name) {
  const input = el("textarea", {
    ...attributes(name), placeholder, spellcheck: false,
    oninput: () => change(name, input.value, true),
    onpaste: (event) => refuseHuge(event, name),
  });
  const extra = file ? [loader(name)] : [];
  return wrap(name, title, input, { tall: true, tip, extra });
}

/** A pasted text beyond the limit never reaches the field: a browser would choke on it. */
function refuseHuge(event, name) {
  const length = event.clipboardData?.getData("text").length ?? 0;
  const most = store.start.limits.characters;
  if (length <= most) return;
  event.preventDefault();
  showErrors({ [name]: `the pasted text has ${length} characters; the page takes up to ${most}` }, [name]);
}

function loader(name) {
  const input = el("input", { type: "file", accept: ".npy,.json,.csv,.tsv,.txt", id: `${name}_file`, onchange: () => load(name, input) });
  return el("label", { class: "load" }, "Load a file … ", input);
}

async function load(name, input) {
  const file = input.files[0];
  input.value = "";
  if (!file) return;
  if (file.size > 2_400_000) {
    showErrors({ [name]: `the file has ${file.size} bytes; the page takes up to 2400000` }, [name]);
    return;
  }
  const query = new URLSearchParams({ field: name, name: file.name });
  const response = await fetch(`/api/matrix?${query}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
  const answer = await response.json();
  if (answer.errors) showErrors(answer.errors, [name]);
  else change(name, answer.text);
}

/** Fields of the options that the chosen encoding has. */
function buildOptions() {
  const chosen = value("encoding");
  const place = $("options");
  if (place.dataset.of === chosen) return;
  place.dataset.of = chosen;
  if (chosen === "own") {
    place.replaceChildren(area("matrix", "Codewords, one per column", "1 0 0\n0 1 0\n0 0 1", true, "encoding"));
    return;
  }
  const { options } = store.start.encodings.find((e) => e.name === chosen) ?? { options: [] };
  place.replaceChildren(
    ...options.map((option) => {
      const name = `option.${option.name}`;
      const title = option.name.replaceAll("_", " ");
      if (option.kind === "matrix") return area(name, title, "example", true, "encoding");
      if (option.kind === "json") return area(name, title, option.default, false, "encoding");
      return text(name, title, option.default, "encoding");
    }),
  );
}

/** Bring every control to the present state; the one that is being typed in is left alone. */
export function syncControls(settled = {}) {
  buildOptions();
  const chosen = value("encoding");
  const entry = store.start.encodings.find((e) => e.name === chosen);
  $("encoding-summary").textContent = entry ? entry.summary : "Paste or load any matrix.";
  for (const input of document.querySelectorAll("#controls [name]")) {
    if (input !== document.activeElement && input.getAttribute("aria-invalid") !== "true") input.value = value(input.name);
  }
  for (const name of ["classes", "depth", "spread"]) setSlider($(`${name}_slider`), Number(value(name)));
  for (const name of ["weight_decay", "feature_decay"]) setSlider($(`${name}_slider`), Math.log10(Number(value(name))));
  const described = document.body.dataset.view === "design"
    ? value("target") === "hierarchy" ? value("tree").trim() : value("target") === "similarity" ? value("similarity").trim() : ""
    : chosen === "own" || ["tree", "S", "label_sets"].some((n) => value(`option.${n}`).trim());
  for (const input of [$("classes"), $("classes_slider")]) input.disabled = Boolean(described);
  if (described && settled.classes) {
    $("classes").value = settled.classes;
    setSlider($("classes_slider"), settled.classes);
  }
  const bound = value("recipe") !== "none";
  for (const input of [$("feature_decay"), $("feature_decay_slider"), $("hold")]) input.disabled = bound;
  const rule = value("counts");
  show("samples", rule !== "typed");
  show("imbalance", rule === "step" || rule === "longtail");
  show("typed", rule === "typed");
  show("tree", value("target") === "hierarchy");
  show("similarity", value("target") === "similarity");
  const { view } = document.body.dataset;
  const design = view === "design";
  $("start").hidden = view !== "dynamics";
  show("beside", view === "explore");
  show("spread", view === "explore");
  $("labels").hidden = design;
  $("model").hidden = design;
  $("target-group").hidden = !design;
}

function show(name, shown) {
  $(`field-${name}`).hidden = !shown;
}

export function setSlider(slider, position) {
  slider.value = position;
  const share = (slider.value - slider.min) / (slider.max - slider.min);
  slider.style.setProperty("--filled", `${100 * share}%`);
}

/** Put each message beside its field; with `only`, other messages stay. */
export function showErrors(errors, only = null) {
  const left = { ...errors };
  for (const place of document.querySelectorAll("[data-error-for]")) {
    const name = place.dataset.errorFor;
    if (only && !only.includes(name)) continue;
    const message = left[name] ?? "";
    // What nobody can see is said at the top as well.
    const folded = place.parentElement.closest("[hidden], details:not([open])");
    if (!message || !folded) delete left[name];
    place.textContent = message;
    place.hidden = !message;
    const input = document.getElementById(name);
    if (message) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
  }
  const rest = Object.entries(left).map(([name, message]) => `${name}: ${message}`);
  if (rest.length) {
    const general = $("error-address");
    general.textContent = [general.textContent, ...rest].filter(Boolean).join(" · ");
    general.hidden = false;
  }
}
