// Eight steps for newcomers. The steps point at the page itself; one lets the frame turn.

import { $, still, symbols } from "./tools.js";

const STEPS = [
  ["panel-frame", "A class becomes a point", "Train a classifier for long, and the last-layer features of each class collapse to one point, its class mean. The means form a rigid frame. Here each rod is a class mean; diamonds are the rows of the classifier, which align with them. Drag to look around."],
  ["labels", "The labels decide which frame", "The network is trained to output a vector for each class: the class encoding. One-hot is one of many. Choose another, and the frame that networks collapse to is computed exactly, for your class counts and regularization."],
  ["strip", "The bias makes the frame turn", "With a free bias (λ_b = 0) the bias takes up the mean of the labels, and the frame lies flat: a simplex. Make the bias expensive, and the features must carry the mean themselves: the frame opens like an umbrella toward right angles. Watch it, or drag the slider."],
  ["panel-line", "It happens at a critical point", "The cosine between class means stays put up to λ_b* and then rises: a phase transition. The position is exact. Drag the vertical line. Trained networks land on these curves; the Runs view lays them over it."],
  ["panel-spectrum", "What is learned, and how we know", "Of each direction in the labels, only what exceeds the threshold c is learned. The certificate below is a lower bound of the loss, computed independently of the solver: no network does better. Every state is in the address, and ‘Copy as…’ takes it to Python."],
  ["panel-path", "How training gets there", "From a small random start the class means grow along one direction of the labels after another, the strongest first. Press play below the bias decay. The last part is exponential, and its rate is computed from the curvature at the minimum.", "dynamics"],
  ["panel-target", "The other way round", "Here you say which geometry you want. Draw cosines into the matrix, choose a frame or write a tree, and the encoding that leads there is found, solved again and compared.", "design"],
  ["panel-study", "Trained networks", "Start the explorer with the folder of a study, and each network that was trained stands here as a point on the line of its theory, with its training to play. Now change anything.", "runs"],
];

export function makeTour({ open, sweep, halt, keep, restore }) {
  let step = -1;
  let kept = null; // the bias decay that the tour moves, and puts back
  const card = $("tour");
  let before = null;
  const go = (next) => {
    document.querySelector(".toured")?.classList.remove("toured");
    halt();
    step = next;
    if (step < 0 || step >= STEPS.length) {
      card.hidden = true;
      open("explore");
      if (kept !== null) restore(kept);
      kept = null;
      localStorage.setItem("toured", "1");
      $("tour-start").classList.remove("invite");
      before?.focus();
      return;
    }
    const [wanted, title, words, view = "explore"] = STEPS[step];
    open(view);
    // Without a study the view has one panel, which says how to get one.
    const id = $(wanted).hidden ? "panel-none" : wanted;
    document.querySelector(".drawer").open = innerWidth > 860 || id === "labels";
    const target = $(id);
    target.classList.add("toured");
    target.scrollIntoView({ block: innerWidth > 860 ? "nearest" : "start", behavior: still.matches ? "auto" : "smooth" });
    $("tour-count").textContent = `${step + 1} of ${STEPS.length}`;
    $("tour-title").textContent = title;
    $("tour-text").replaceChildren(...symbols(words));
    $("tour-back").disabled = step === 0;
    $("tour-next").textContent = step === STEPS.length - 1 ? "Done" : "Next";
    card.hidden = false;
    place(card, target);
    $("tour-next").focus({ preventScroll: true });
    if (id === "strip") sweep();
    else if (kept !== keep()) restore(kept);
  };
  $("tour-start").addEventListener("click", () => {
    before = document.activeElement;
    kept = keep();
    go(0);
  });
  $("tour-next").addEventListener("click", () => go(step + 1));
  $("tour-back").addEventListener("click", () => go(step - 1));
  $("tour-end").addEventListener("click", () => go(-1));
  document.addEventListener("keydown", (event) => event.key === "Escape" && !card.hidden && go(-1));
  if (!localStorage.getItem("toured")) $("tour-start").classList.add("invite");
}

/** Beside what is shown: right of it, else left, else at the foot of the window. */
function place(card, target) {
  const box = target.getBoundingClientRect();
  const { offsetWidth: w, offsetHeight: h } = card;
  const room = innerWidth > 860;
  const right = box.right + 14 + w < innerWidth;
  const left = box.left - 14 - w > 0;
  const beside = room && (right || left);
  const below = box.bottom + h + 14 < innerHeight && target.id !== "strip"; // the frame below it is what turns
  const x = beside ? (right ? box.right + 14 : box.left - 14 - w) : Math.min(Math.max(box.left, 12), innerWidth - w - 12);
  const y = beside ? Math.min(Math.max(box.top, 12), innerHeight - h - 12) : below && room ? box.bottom + 12 : innerHeight - h - 12;
  card.style.left = `${x}px`;
  card.style.top = `${y}px`;
}
