/**
 * The storefront: routes, the personal row that follows the visitor, and the frame around the pages.
 *
 *   #/                          all products        #/?q=lamp  #/?picture=1  #/?category=Lamps   some of them
 *   #/item/ID                   one product         (ID percent-encoded)
 */

import { Away, Refused, answers, feed, getItem, similarItems } from "./api.js";
import { recallShape } from "./cards.js";
import { byId, calm } from "./dom.js";
import { homePage } from "./home.js";
import { wireKey } from "./key.js";
import { pictureOf, searchHref, showPicture, wireSearch } from "./looking.js";
import { showName, wireSheet } from "./person.js";
import { missingPage, productPage } from "./product.js";
import { suggestionRow } from "./row.js";
import { flush, record, userId } from "./visitor.js";

const main = byId("main");
const forYou = suggestionRow({ id: "for-you", title: "For you" });
const REMARKS = {
  popular: "Popular right now. Look at a product, and this row follows you.",
  published: "Chosen from what you did before. Look at a product, and this row follows you.",
};

let going = new AbortController();
let home = null; // the last list, kept so that "back" finds it as it was
let homeKey = "";
let scrolledTo = 0;
let suggestedBy = null; // {itemId, recommendationId} of the suggestion just followed
let feedFor = 0;
let firstVisit = true;

/** Ask for the personal row again and let it change in place. */
async function refreshForYou(remark = "") {
  const turn = ++feedFor;
  forYou.wait();
  try {
    const answer = await feed(userId());
    if (turn === feedFor) forYou.show(answer, remark || (REMARKS[answer.source] ?? "Chosen from what you looked at."));
  } catch (error) {
    if (turn === feedFor) forYou.fail("No suggestions: the shop does not answer.");
    if (!(error instanceof Away || error instanceof Refused)) throw error;
  }
}

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  if (path.startsWith("/item/")) {
    try {
      return { itemId: decodeURIComponent(path.slice(6)) };
    } catch {
      return { itemId: path.slice(6) };
    }
  }
  const params = new URLSearchParams(query);
  const number = pictureOf(params.get("picture")) ? params.get("picture") : ""; // a reload has lost its pictures
  return { q: params.get("q")?.trim() ?? "", category: params.get("category") ?? "", number };
}

async function showHome({ q, category, number }, signal) {
  const key = JSON.stringify([q, category, number]);
  const back = home && key === homeKey && !home.isEmpty();
  if (!back) home = homePage({ q, category, picture: pictureOf(number) }, forYou.element);
  homeKey = key;
  showPicture(number);
  if (byId("query") !== document.activeElement) byId("query").value = q;
  if (back && !q && !category && !number) home.element.querySelector("h1").after(forYou.element);
  enter(home.element, home.title, back ? scrolledTo : 0);
  if (!back) await home.load(signal);
}

async function showProduct(itemId, signal) {
  const similar = suggestionRow({ id: "similar", title: "Similar products" });
  const recommendationId = suggestedBy?.itemId === itemId ? suggestedBy.recommendationId : null;
  suggestedBy = null;
  similar.wait();
  main.setAttribute("aria-busy", "true");
  const alike = similarItems(itemId, signal);
  alike.catch(() => {}); // looked at below, after the item itself
  let item;
  try {
    item = await getItem(itemId, signal);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    enter(missingPage(itemId), "No such product", 0);
    return;
  }
  const parts = { similar: similar.element, forYou: forYou.element, recommendationId, changed: refreshForYou };
  enter(productPage(item, parts), item.title, 0);
  record("view", itemId, recommendationId).then(() => refreshForYou(`Updated after you looked at “${item.title}”.`), () => {});
  try {
    similar.show(await alike);
  } catch (error) {
    if (error.name !== "AbortError") similar.fail("No similar products: the shop does not answer.");
  }
}

/** Put a page on screen, tell its title, and move the focus there as a page load would. */
function enter(element, title, scroll) {
  main.removeAttribute("aria-busy");
  main.replaceChildren(element);
  document.title = title === "Storefront" ? title : `${title} · Storefront`;
  scrollTo({ top: scroll, behavior: "instant" });
  const typing = document.activeElement === byId("query");
  if (!firstVisit && !typing) byId("page-title")?.focus({ preventScroll: true });
  firstVisit = false;
  if (!calm()) element.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 180 });
}

async function go() {
  going.abort();
  going = new AbortController();
  const { signal } = going;
  const route = parse(location.hash);
  try {
    if ("itemId" in route) await showProduct(route.itemId, signal);
    else await showHome(route, signal);
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof Away)) throw error;
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

function wireFrame() {
  wireSearch((hash) => {
    const now = parse(location.hash);
    if (!("itemId" in now) && hash === searchHref(now.q, now.number)) return;
    if (now.q || now.number) history.replaceState(null, "", hash); // one search, one step back
    else history.pushState(null, "", hash);
    go();
  });
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, textarea, dialog");
    if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    byId("query").focus();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    (byId("page-title") ?? main).focus();
  });
  main.addEventListener("click", (event) => {
    const shown = event.target.closest("a")?.closest(".card");
    if (!main.querySelector(".product-page")) scrolledTo = scrollY;
    if (shown?.dataset.recommendation) suggestedBy = { itemId: shown.dataset.item, recommendationId: shown.dataset.recommendation };
  });
}

function wireAnswers() {
  const banner = byId("banner");
  answers.addEventListener("away", (event) => {
    byId("banner-text").textContent = `${event.detail} What you see may be old.`;
    banner.hidden = false;
  });
  answers.addEventListener("answer", ({ detail }) => {
    banner.hidden = true;
    byId("fact-latency").textContent = `${Math.max(1, Math.round(detail.latencyMs))} ms`;
    if (detail.model) byId("fact-model").textContent = detail.model;
    if (detail.store) byId("fact-store").textContent = detail.store;
  });
  const retry = () => {
    flush().catch(() => {});
    refreshForYou();
    go();
  };
  byId("banner-retry").addEventListener("click", retry);
  wireKey(retry);
  addEventListener("online", () => banner.hidden || retry());
}

recallShape();
showName();
wireFrame();
wireAnswers();
wireSheet(refreshForYou);
addEventListener("hashchange", go);
history.scrollRestoration = "manual";
refreshForYou();
go();
