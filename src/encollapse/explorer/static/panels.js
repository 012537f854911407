// What every panel with a picture offers: the whole screen, and the picture as a file.

import { el, saveUrl } from "./tools.js";

/** Put the two buttons into the header of each panel that holds a chart or a canvas. */
export function equipPanels() {
  for (const panel of document.querySelectorAll(".view > .panel")) {
    const picture = panel.querySelector("canvas, .plot, .chart > div");
    if (!picture) continue;
    const title = panel.querySelector("h2").textContent.trim().replace(/\s+/g, " ");
    panel.querySelector("header").append(
      el("span", { class: "acts" },
        el("button", { title: "Full screen", "aria-label": `Full screen: ${title}`, onclick: () => (document.fullscreenElement ? document.exitFullscreen() : panel.requestFullscreen()) }, "⤢"),
        el("button", { title: "Save the picture", "aria-label": `Save the picture: ${title}`, onclick: () => savePicture(picture, title) }, "⤓")),
    );
  }
  // Charts take their size from the window, which does not change here.
  document.addEventListener("fullscreenchange", () => setTimeout(() => dispatchEvent(new Event("resize")), 60));
}

/** A chart as SVG, a canvas as PNG. */
async function savePicture(picture, title) {
  const name = title.toLowerCase().replaceAll("λ", "lambda-").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  if (picture.tagName === "CANVAS") {
    picture.toBlob((blob) => saveUrl(`${name}.png`, URL.createObjectURL(blob)));
    return;
  }
  if (!picture._fullLayout) return;
  const url = await Plotly.toImage(picture, { format: "svg", width: picture.clientWidth, height: picture.clientHeight });
  const text = decodeURIComponent(url.slice(url.indexOf(",") + 1));
  saveUrl(`${name}.svg`, URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })));
}
