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
        el("button", { title: "Save the picture", "aria-label": `Save the picture: ${title}`, onclick: () => savePicture(panel, picture, title) }, "⤓")),
    );
  }
  // Charts take their size from the window, which does not change here.
  document.addEventListener("fullscreenchange", () => setTimeout(() => dispatchEvent(new Event("resize")), 60));
}

/** A chart as SVG, a canvas as PNG, on the color of its panel: light ink of the dark theme is invisible on a slide. */
async function savePicture(panel, picture, title) {
  const ground = getComputedStyle(panel).backgroundColor;
  const name = title.toLowerCase().replaceAll("λ", "lambda-").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  if (picture.tagName === "CANVAS") {
    sideBySide([...panel.querySelectorAll("canvas")].filter((one) => one.offsetParent), ground)
      .toBlob((blob) => saveUrl(`${name}.png`, URL.createObjectURL(blob)));
    return;
  }
  if (!picture._fullLayout) return;
  const url = await Plotly.toImage(
    { data: picture.data, layout: { ...picture.layout, paper_bgcolor: ground } },
    { format: "svg", width: picture.clientWidth, height: picture.clientHeight },
  );
  const text = decodeURIComponent(url.slice(url.indexOf(",") + 1));
  saveUrl(`${name}.svg`, URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })));
}

/** One canvas of several, such as the frames of two encodings. */
function sideBySide(canvases, ground) {
  const whole = el("canvas", {
    width: canvases.reduce((sum, one) => sum + one.width, 0),
    height: Math.max(...canvases.map((one) => one.height)),
  });
  const pen = whole.getContext("2d");
  pen.fillStyle = ground;
  pen.fillRect(0, 0, whole.width, whole.height);
  let left = 0;
  for (const one of canvases) {
    pen.drawImage(one, left, 0);
    left += one.width;
  }
  return whole;
}
