/**
 * The home page: the personal row on top, then the grid of products, narrowed by search or category.
 */

import { listItems } from "./api.js";
import { card, skeletons } from "./cards.js";
import { below, categoryHref, leaf, trail } from "./categories.js";
import { h } from "./dom.js";

const MAX_CHIPS = 14;

/**
 * One list of products; it stays alive while the visitor looks at a product, so that "back" finds it as it was.
 *
 * @param {{q: string, category: string}} filter
 * @param {HTMLElement|null} forYou the personal row, shown above the whole shop only
 */
export function homePage(filter, forYou) {
  const narrowed = Boolean(filter.q || filter.category);
  const title = filter.q ? `Results for “${filter.q}”` : filter.category ? leaf(filter.category) : "All products";
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
      const page = await listItems({ ...filter, offset: nextOffset, k: 24 }, signal);
      if (first) grid.replaceChildren();
      grid.append(...page.items.map((item, place) => card(item, { eager: first && place < 6 })));
      shown += page.items.length;
      nextOffset = page.next_offset;
      count.textContent = sentence(page.total);
      more.hidden = nextOffset === null;
      if (!shown) grid.replaceChildren(nothing());
      drawChips(page.items);
    } catch (error) {
      if (first) grid.replaceChildren();
      throw error;
    } finally {
      more.disabled = false;
    }
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
    if (filter.q) return;
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
