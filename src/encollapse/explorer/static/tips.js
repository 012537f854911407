// Tooltips: what a quantity is, its formula and where it comes from, under the pointer or the focus.

import { $, el } from "./tools.js";
import { store } from "./store.js";

export function listenForTips() {
  const tip = $("tip");
  const find = (target) => target instanceof Element && target.closest("[data-tip]");
  const open = (term) => {
    const words = store.start?.tooltips[term.dataset.tip];
    if (!words) return;
    tip.replaceChildren(el("b", {}, words.title), words.text, el("code", {}, words.formula), el("i", {}, words.reference));
    tip.hidden = false;
    const box = term.getBoundingClientRect();
    const left = Math.min(Math.max(box.left, 8), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 8 : Math.max(box.top - tip.offsetHeight - 8, 8)}px`;
    term.setAttribute("aria-describedby", "tip");
  };
  const close = () => {
    tip.hidden = true;
  };
  document.addEventListener("pointerover", (event) => {
    const term = find(event.target);
    if (term) open(term);
    else close();
  });
  document.addEventListener("focusin", (event) => (find(event.target) ? open(find(event.target)) : close()));
  document.addEventListener("focusout", close);
  document.addEventListener("click", (event) => find(event.target) && open(find(event.target)));
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.addEventListener("scroll", close, { passive: true });
}

/** Terms can be reached by the keyboard. */
export function makeTermsReachable() {
  for (const term of document.querySelectorAll(".term:not([tabindex])")) term.tabIndex = 0;
}
