/**
 * A row of suggestions that can change under one's eyes: what stays slides to its new place, what is new fades in.
 */

import { card, skeletons } from "./cards.js";
import { calm, h } from "./dom.js";

/**
 * @param {{id: string, title: string}} options
 * @returns {{element: HTMLElement, wait: function(): void, show: function(object, string=): void, fail: function(string): void}}
 */
export function suggestionRow({ id, title }) {
  const strip = h("div", { class: "strip", tabindex: "0", role: "group", "aria-label": `${title}, scrolls sideways` });
  const note = h("p", { class: "row-note", "aria-live": "polite" });
  const back = stepper("Back", "m12.5 4.5-5.5 5.5 5.5 5.5", () => step(-1));
  const on = stepper("Forward", "m7.5 4.5 5.5 5.5-5.5 5.5", () => step(1));
  const element = h("section", { class: "row", id, "aria-labelledby": `${id}-title` },
    h("div", { class: "row-head" },
      h("div", {}, h("h2", { id: `${id}-title` }, title), note),
      h("div", { class: "steppers" }, back, on)),
    strip);

  function stepper(label, path, act) {
    return h("button", { class: "round", type: "button", "aria-label": `${label} in ${title}`, on: { click: act } },
      h("svg:svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("svg:path", { d: path })));
  }

  function step(direction) {
    strip.scrollBy({ left: direction * strip.clientWidth * 0.85, behavior: calm() ? "auto" : "smooth" });
  }

  function edges() {
    back.disabled = strip.scrollLeft < 8;
    on.disabled = strip.scrollLeft + strip.clientWidth > strip.scrollWidth - 8;
  }
  strip.addEventListener("scroll", edges, { passive: true });
  new ResizeObserver(edges).observe(strip);

  function wait() {
    if (!strip.childElementCount) strip.replaceChildren(...skeletons(8));
    element.setAttribute("aria-busy", "true");
  }

  function show(answer, remark = "") {
    const before = places();
    const focused = strip.contains(document.activeElement) ? document.activeElement.closest(".card")?.dataset.item ?? "" : null;
    const cards = answer.recommendations.map((recommendation, place) =>
      card(recommendation.item, { recommendation, recommendationId: answer.recommendation_id, eager: place < 6 }));
    element.removeAttribute("aria-busy");
    element.dataset.source = answer.source;
    note.textContent = remark;
    if (cards.length) strip.replaceChildren(...cards);
    else strip.replaceChildren(h("p", { class: "note" }, "Nothing to suggest yet."));
    if (focused !== null) refocus(focused);
    if (before.size) {
      strip.scrollTo({ left: 0 });
      move(before);
    }
    edges();
  }

  /** Who stood on a card by keyboard still stands in the row afterwards: on the same product, or on the row. */
  function refocus(itemId) {
    const same = [...strip.querySelectorAll(".card")].find((shownCard) => shownCard.dataset.item === itemId);
    (same?.querySelector("a") ?? strip).focus({ preventScroll: true });
  }

  function places() {
    const shown = [...strip.querySelectorAll(".card[data-item]")];
    return new Map(shown.map((shownCard) => [shownCard.dataset.item, shownCard.getBoundingClientRect().left]));
  }

  function move(before) {
    if (calm()) return;
    let fresh = 0;
    for (const shownCard of strip.querySelectorAll(".card")) {
      const from = before.get(shownCard.dataset.item);
      const timing = { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)", fill: "backwards" };
      if (from === undefined) {
        const frames = [{ opacity: 0, transform: "translateY(14px) scale(.96)" }, { opacity: 1, transform: "none" }];
        shownCard.animate(frames, { ...timing, delay: 45 * fresh++ });
      } else {
        const shift = from - shownCard.getBoundingClientRect().left;
        if (shift) shownCard.animate([{ transform: `translateX(${shift}px)` }, { transform: "none" }], timing);
      }
    }
  }

  function fail(message) {
    element.removeAttribute("aria-busy");
    if (!strip.querySelector(".card[data-item]")) strip.replaceChildren(h("p", { class: "note" }, message));
  }

  return { element, wait, show, fail };
}
