/**
 * One product as a card: its picture (or a tile of words), title, price, and why it is shown.
 */

import { deepest, leaf } from "./categories.js";
import { h, hueOf, money } from "./dom.js";

export const itemHref = (itemId) => `#/item/${encodeURIComponent(itemId)}`;

/** What a product is called; one without a title goes by its id. */
export const nameOf = (item) => item.title || item.item_id;

/** What each source of a suggestion means, from most to least personal; then the ways in which a search finds. */
const SOURCES = {
  personalized: ["Personalized", "Chosen from what you looked at, just now"],
  published: ["Model's pick", "From the list the model last published"],
  content: ["Similar content", "Chosen because its picture or words are alike"],
  popular_in_category: ["Popular in category", "Liked by many in the same category"],
  popular: ["Popular", "Liked by many"],
  together: ["Goes with it", "Met by the same shoppers as what you looked at"],
  fresh: ["New", "New here, and to your taste"],
  image: ["Looks alike", "Its picture is like this one's"],
  text: ["Reads alike", "Its words mean the same"],
  behavior: ["Same shoppers", "Liked by shoppers with the same taste"],
  complement: ["Goes with it", "Bought beside it, not instead of it"],
  pinned: ["Our choice", "Put here by the shop"],
  lexical: ["Words match", "Its title, kind or description holds your words"],
  words_to_words: ["Same meaning", "Its words mean what you typed"],
  words_to_pictures: ["Picture fits", "Its picture looks like what you typed"],
  picture_to_pictures: ["Looks alike", "Its picture looks like yours"],
  picture_to_words: ["Words fit", "Its words say what your picture shows"],
};

export function sourceBadge(source) {
  const [label, meaning] = SOURCES[source] ?? [source, "How this was chosen"];
  return h("span", { class: `badge source-${source in SOURCES ? source : "other"}`, "data-source": source, title: meaning }, label);
}

/** A product without a picture shows its words instead. */
function textTile(item) {
  const [category] = deepest(item);
  const kind = category && leaf(category);
  const tile = h("div", { class: "tile", role: "img", "aria-label": `${nameOf(item)} (no picture)` },
    h("span", { class: "tile-kind", "aria-hidden": "true" }, kind || "No picture"),
    h("span", { class: "tile-title", "aria-hidden": "true" }, nameOf(item)));
  tile.style.setProperty("--hue", hueOf(kind || nameOf(item)));
  return tile;
}

/**
 * The picture of a product, or its text tile; a picture that fails to load turns into the tile.
 *
 * @param {object} item
 * @param {{eager?: boolean, large?: boolean}} options eager: load before it scrolls into view; large: may fill a stage,
 *   but a thumbnail is not blown up beyond three times its size
 */
export function picture(item, { eager = false, large = false } = {}) {
  const frame = h("div", { class: "frame" });
  if (!item.image_url) {
    frame.append(textTile(item));
    return frame;
  }
  const image = h("img", { alt: nameOf(item), loading: eager ? "eager" : "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("load", () => {
    frame.classList.add("loaded");
    if (large) {
      image.style.maxWidth = `${3 * image.naturalWidth}px`;
      image.style.maxHeight = `${3 * image.naturalHeight}px`;
    } else learnShape(image.naturalWidth, image.naturalHeight);
  });
  image.addEventListener("error", () => image.replaceWith(textTile(item)));
  image.src = item.image_url;
  frame.append(image);
  return frame;
}

/**
 * A card that leads to the product's page.
 *
 * @param {object} item
 * @param {{recommendation?: object, recommendationId?: string, eager?: boolean}} options
 */
export function card(item, { recommendation = null, recommendationId = null, eager = false } = {}) {
  const reasons = recommendation?.reasons ?? [];
  return h("article", { class: "card", "data-item": item.item_id, "data-recommendation": recommendationId },
    picture(item, { eager }),
    item.available ? null : h("span", { class: "sold-out" }, "Sold out"),
    h("div", { class: "card-words" },
      recommendation ? sourceBadge(recommendation.source) : null,
      h("h3", { class: "card-title" }, h("a", { href: itemHref(item.item_id), draggable: "false" }, nameOf(item))),
      item.price === null || item.price === undefined ? null : h("p", { class: "price" }, money(item.price)),
      reasons.length ? h("ul", { class: "reasons", "aria-label": "Why this is shown" }, reasons.slice(0, 3).map((reason) => h("li", {}, reason))) : null));
}

/** Grey cards that hold the place of those to come. */
export function skeletons(count) {
  return Array.from({ length: count }, () =>
    h("div", { class: "card skeleton", "aria-hidden": "true" }, h("div", { class: "frame" }), h("div", { class: "bone" }), h("div", { class: "bone short" })));
}

/* Posters are 2:3, product shots square: the frames of all cards take the shape most pictures have. */
const SHAPE_KEY = "storefront.shape";
const ratios = [];

function learnShape(width, height) {
  if (!width || !height || ratios.length >= 40) return;
  ratios.push(width / height);
  if (ratios.length < 4) return;
  const middle = [...ratios].sort((a, b) => a - b)[ratios.length >> 1];
  const shape = middle < 0.85 ? "portrait" : middle > 1.2 ? "landscape" : "square";
  if (document.documentElement.dataset.shape === shape) return;
  document.documentElement.dataset.shape = shape;
  try {
    sessionStorage.setItem(SHAPE_KEY, shape);
  } catch {
    // storage is off: the shape is learned again on the next visit
  }
}

/** Take the shape learned earlier, so that nothing moves on a second visit. */
export function recallShape() {
  try {
    document.documentElement.dataset.shape = sessionStorage.getItem(SHAPE_KEY) ?? "square";
  } catch {
    document.documentElement.dataset.shape = "square";
  }
}
