/**
 * The home page: the personal row on top, then the grid of products, narrowed by category, or what a search found.
 */

import { Refused, listItems, searchItems } from "./api.js";
import { card, skeletons } from "./cards.js";
import { below, categoryHref, leaf, trail } from "./categories.js";
import { h } from "./dom.js";
import { userId } from "./visitor.js";

const MAX_CHIPS = 14;
const PAGE = 24;
const DEEPEST = 900; // how far the service leafs through one search

/**
 * One list of products; it stays alive while the visitor looks at a product, so that "back" finds it as it was.
 *
 * @param {{q: string, category: string, picture: File|null}} filter words and picture search, a category narrows
 * @param {HTMLElement|null} forYou the personal row, shown above the whole shop only
 */
export function homePage(filter, forYou) {
  const searching = Boolean(filter.q || filter.picture);
  const narrowed = Boolean(searching || filter.category);
  const title = searching ? searchTitle(filter) : filter.category ? leaf(filter.category) : "All products";
  const count = h("p", { class: "count", role: "status" });
  const chips = h("nav", { class: "chips", "aria-label": "Categories", hidden: true });
  const grid = h("div", { class: "grid" });
  const more = h("button", { class: "button plain more", type: "button", hidden: true, on: { click: loadMore } }, "Load more");
  const heading = narrowed
    ? h("h1", { tabindex: "-1", id: "page-title" }, title)
    : h("h2", { id: "grid-title" }, title);
  const element = h("div", { class: "home" },
    narrowed ? null : h("h1", { class: "unseen", tabindex: "-1", id: "page-title" }, "Storefront"),
    narrowed ? null : forYou,
    h("section", { class: "products", "aria-labelledby": heading.id },
      h("div", { class: "row-head" },
        h("div", {}, heading, count),
        narrowed ? h("a", { class: "button plain small", href: "#/" }, "Show all products") : null),
      chips, grid, more));
  const categories = new Map();
  let nextOffset = 0;
  let shown = 0;

  async function load(signal) {
    const first = shown === 0;
    if (first) grid.replaceChildren(...skeletons(12));
    more.disabled = true;
    try {
      const page = searching ? await found(signal) : await listed(signal);
      if (first) grid.replaceChildren();
      grid.append(...page.cards.map(({ item, ...why }, place) => card(item, { ...why, eager: first && place < 6 })));
      shown += page.cards.length;
      nextOffset = page.nextOffset;
      count.textContent = page.sentence;
      more.hidden = nextOffset === null || (searching && nextOffset > DEEPEST);
      if (!shown) grid.replaceChildren(nothing());
      drawChips(page.cards.map(({ item }) => item));
    } catch (error) {
      if (first) grid.replaceChildren();
      if (!(searching && error instanceof Refused)) throw error;
      count.textContent = "";
      grid.replaceChildren(h("p", { class: "note", role: "alert" }, error.detail || error.message));
    } finally {
      more.disabled = false;
    }
  }

  async function listed(signal) {
    const page = await listItems({ ...filter, offset: nextOffset, k: PAGE }, signal);
    return { cards: page.items.map((item) => ({ item })), nextOffset: page.next_offset, sentence: sentence(page.total) };
  }

  async function found(signal) {
    const page = await searchItems({ ...filter, userId: userId(), offset: nextOffset, k: PAGE }, signal);
    const cards = page.results.map((result) => ({ item: result.item, recommendation: result, recommendationId: page.recommendation_id }));
    const best = cards.length ? "Best matches first" : "";
    const told = [page.total === null ? best : sentence(page.total), ...(page.warnings || [])].filter(Boolean);
    return { cards, nextOffset: page.next_offset, sentence: told.join(". ") };
  }

  async function loadMore() {
    const from = grid.childElementCount;
    try {
      await load();
    } catch {
      return; // the banner says so
    }
    grid.children[from]?.querySelector("a")?.focus();
  }

  function sentence(total) {
    const number = total.toLocaleString();
    return total === 1 ? "1 product" : `${number} products`;
  }

  function nothing() {
    return h("div", { class: "note" },
      h("p", {}, "No product matches. Try fewer or shorter words."),
      h("p", {}, h("a", { href: "#/" }, "Show all products")));
  }

  function drawChips(items) {
    if (searching) return;
    for (const item of items) {
      for (const value of item.attributes?.category ?? []) categories.set(value, (categories.get(value) ?? 0) + 1);
    }
    const near = below(filter.category, [...categories.keys()]).sort((a, b) => categories.get(b) - categories.get(a));
    const up = filter.category ? trail(filter.category) : [];
    const shownChips = [...up, ...near.slice(0, MAX_CHIPS).sort()];
    chips.hidden = shownChips.length < 2;
    chips.replaceChildren(...shownChips.map((value) =>
      h("a", { class: "chip", href: categoryHref(value), "aria-current": value === filter.category ? "true" : null }, leaf(value))));
  }

  return { element, load, isEmpty: () => shown === 0, title: narrowed ? title : "Storefront" };
}

function searchTitle({ q, picture }) {
  if (!picture) return `Results for “${q}”`;
  return q ? `Results for “${q}” and your picture` : "Results for your picture";
}
