/**
 * The page of one product: large picture, facts, agreement of picture and words, similar products.
 */

import { picture } from "./cards.js";
import { categoryHref, deepest, leaf, trail } from "./categories.js";
import { h, money, toast, words } from "./dom.js";
import { record } from "./visitor.js";

/**
 * @param {object} item
 * @param {{similar: HTMLElement, forYou: HTMLElement, recommendationId: string|null, changed: function(string): Promise<void>}} parts
 *   changed: called after an event has been taken, with a remark for the personal row
 */
export function productPage(item, { similar, forYou, recommendationId, changed }) {
  const priced = item.price !== null && item.price !== undefined;
  return h("div", { class: "product-page" },
    h("nav", { class: "crumbs", "aria-label": "Where you are" },
      h("a", { href: "#/" }, "All products"), path(deepest(item)[0])),
    h("article", { class: "product" },
      h("div", { class: "stage" }, picture(item, { eager: true, large: true })),
      h("div", { class: "product-words" },
        h("h1", { tabindex: "-1", id: "page-title" }, item.title),
        priced ? h("p", { class: "price large" }, money(item.price)) : null,
        h("p", { class: item.available ? "stock in" : "stock out" }, item.available ? "Available" : "Sold out"),
        item.description ? h("p", { class: "description" }, item.description) : null,
        h("div", { class: "pair actions" },
          action("Add to cart", "cart", "button plain", "Added to cart"),
          action("Buy now", "purchase", "button", "Bought, thank you")),
        agreement(item),
        facts(item))),
    similar,
    forYou);

  function action(label, type, style, done) {
    const button = h("button", { class: style, type: "button", disabled: !item.available, on: { click: act } }, label);
    async function act() {
      button.disabled = true;
      try {
        await record(type, item.item_id, recommendationId);
        toast(`${done}: ${item.title}`);
        await changed(type === "cart" ? `Updated after you put “${item.title}” in the cart.` : `Updated after you bought “${item.title}”.`);
      } catch {
        toast("Not sent yet: the shop does not answer.");
      } finally {
        button.disabled = false;
      }
    }
    return button;
  }
}

function path(category) {
  if (!category) return null;
  return trail(category).flatMap((value) => [h("span", { "aria-hidden": "true" }, "/"), h("a", { href: categoryHref(value) }, leaf(value))]);
}

/** A ring that fills with the share to which picture and words agree. */
function agreement(item) {
  const score = item.match_score;
  if (score === null || score === undefined) {
    const missing = item.image_url ? "This listing has too few words to compare with its picture." : "This listing has no picture to compare with its words.";
    return h("p", { class: "agreement none" }, missing);
  }
  const percent = Math.round(score * 100);
  const verdict = score >= 0.5 ? "Picture and words agree" : "Picture and words may not belong together";
  const ring = { cx: 22, cy: 22, r: 18, pathLength: 100 };
  return h("div", { class: `agreement ${score >= 0.5 ? "good" : "doubtful"}`, role: "meter", "aria-label": "Agreement of picture and words", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent, "aria-valuetext": `${percent} percent: ${verdict}` },
    h("svg:svg", { viewBox: "0 0 44 44", "aria-hidden": "true" },
      h("svg:circle", { ...ring, class: "ring" }),
      h("svg:circle", { ...ring, class: "ring-fill", "stroke-dasharray": `${percent} 100`, transform: "rotate(-90 22 22)" })),
    h("p", {}, h("strong", {}, `${percent}%`), h("span", {}, verdict)));
}

function facts(item) {
  const attributes = item.attributes ?? {};
  const names = Object.keys(attributes).filter((name) => name !== "category" && attributes[name].length);
  const kinds = deepest(item);
  if (!names.length && !kinds.length) return null;
  return h("section", { class: "attributes", "aria-labelledby": "facts-title" },
    h("h2", { id: "facts-title", class: "unseen" }, "Details"),
    h("dl", {},
      kinds.length ? fact("Category", kinds.map((value) => h("a", { class: "chip", href: categoryHref(value) }, leaf(value)))) : null,
      names.map((name) => fact(words(name), attributes[name].slice(0, 12).map((value) => h("span", { class: "chip" }, value))))));
}

const fact = (name, values) => h("div", {}, h("dt", {}, name), h("dd", {}, values));

/** What is shown for an id the shop does not have. */
export function missingPage(itemId) {
  return h("div", { class: "note tall" },
    h("h1", { tabindex: "-1", id: "page-title" }, "No such product"),
    h("p", {}, `The shop has no product “${itemId}”.`),
    h("p", {}, h("a", { class: "button", href: "#/" }, "Show all products")));
}
