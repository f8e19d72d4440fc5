/**
 * Similar products on any page, by one tag:
 *
 *   <script src="https://recs.example/widget.js" data-item="sku-481" data-k="6" data-key="rk_..." async></script>
 *
 * data-item  the product of the page           data-link   where a product is: "/p/{id}" (default "?item={id}")
 * data-k     how many, 1 to 24 (6)             data-title  heading ("Similar products"); "" for none
 * data-key   API key of scopes read and write  data-into   selector of the element to fill (default: after the tag)
 * data-user  who is looking, if known          data-theme  "light", "dark" or "auto" (auto)
 *
 * It lives in a shadow tree, so that the page's styles and its own stay apart. What was seen (half of a card for a
 * second) and clicked is told to the service with the answer's recommendation_id, by "view" and "click" events of the
 * shopper; without data-user a random id is kept for this visit. It throws "recsys:shown", "recsys:click" and
 * "recsys:empty" on its element for the page to listen to.
 */
(() => {
  const tag = document.currentScript;
  if (!tag) return;
  const said = tag.dataset;
  const service = new URL(tag.src).origin;
  const link = said.link ?? "?item={id}";
  const title = said.title ?? "Similar products";
  const wanted = Math.min(24, Math.max(1, Number.parseInt(said.k ?? "6", 10) || 6));

  const STYLE = `
    :host { display: block; container-type: inline-size; --ink: #1c1f1e; --quiet: #585e5b; --line: #d9ddda; --paper: #fff; --tile: #f1f3f1; --mark: #0b63c5; color-scheme: light;
      font: 15px/1.4 system-ui, sans-serif; color: var(--ink); }
    :host([theme=dark]) { --ink: #eef1ef; --quiet: #a9b1ad; --line: #3a403d; --paper: #191c1b; --tile: #252a28; --mark: #7db8ff; color-scheme: dark; }
    @media (prefers-color-scheme: dark) {
      :host([theme=auto]) { --ink: #eef1ef; --quiet: #a9b1ad; --line: #3a403d; --paper: #191c1b; --tile: #252a28; --mark: #7db8ff; color-scheme: dark; } }
    section { padding: 1rem; background: var(--paper); border-radius: .75rem; }
    h2 { margin: 0 0 .75rem; font-size: 1.1rem; font-weight: 650; }
    ul { margin: 0; padding: 0; list-style: none; display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
    li { display: grid; }
    a { display: grid; gap: .4rem; grid-template-rows: auto 1fr; padding: .5rem; border: 1px solid var(--line); border-radius: .6rem; color: inherit; text-decoration: none; }
    a:hover { border-color: var(--quiet); }
    a:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
    .picture { position: relative; aspect-ratio: 1; display: grid; place-items: center; overflow: hidden; border-radius: .4rem; background: var(--tile); color: var(--quiet); font-size: 1.6rem; }
    img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
    .name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
    .foot { display: flex; flex-wrap: wrap; gap: 0 .5rem; justify-content: space-between; font-size: .85rem; color: var(--quiet); }
    .price { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
    .wait { min-height: 11rem; border-radius: .6rem; background: var(--tile); }
    @container (max-width: 22rem) { ul { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
    @media (prefers-reduced-motion: no-preference) { .wait { animation: wait 1.2s ease-in-out infinite alternate; } @keyframes wait { to { opacity: .55; } } }`;

  const host = document.createElement("recsys-similar");
  host.setAttribute("theme", ["light", "dark"].includes(said.theme) ? said.theme : "auto");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // not a <style> element: strict pages forbid those
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];

  function h(name, props, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(props)) if (value !== null) element.setAttribute(key, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function randomId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  let own = null;
  function shopper() {
    if (said.user) return said.user;
    try {
      own = sessionStorage.getItem("recsys.visitor");
      if (!own) sessionStorage.setItem("recsys.visitor", (own = `visitor-${randomId()}`));
    } catch {
      own ??= `visitor-${randomId()}`; // storage is off: the id lasts as long as the page
    }
    return own;
  }

  const headers = { "content-type": "application/json", ...(said.key && { "x-api-key": said.key }) };
  const throws = (name, detail) => host.dispatchEvent(new CustomEvent(`recsys:${name}`, { detail, bubbles: true }));

  let waiting = [];
  let sending = 0;
  /** Note what was done; a click goes at once, and survives that the page is left. */
  function record(type, itemId, recommendationId, now) {
    waiting.push({ event_id: randomId(), user_id: shopper(), item_id: itemId, event_type: type, recommendation_id: recommendationId });
    clearTimeout(sending);
    if (now) send();
    else sending = setTimeout(send, 1000);
  }
  function send() {
    const events = waiting.splice(0, 100);
    if (!events.length) return;
    const body = JSON.stringify({ events });
    fetch(`${service}/v1/events`, { method: "POST", headers, body, keepalive: true })
      .then((answer) => { if (answer.status >= 500 || answer.status === 429) throw answer.status; })
      .catch(() => { if (waiting.length < 100) waiting.push(...events); }); // told with the next; an event counts once
  }
  addEventListener("pagehide", send);

  function card({ item, reasons }, recommendationId) {
    const name = h("span", { class: "name" }, item.title);
    const letter = h("span", { "aria-hidden": "true" }, [...item.title][0] ?? "");
    const tile = h("span", { class: "picture" }, letter);
    if (item.image_url) {
      const picture = h("img", { src: new URL(item.image_url, service).href, alt: item.title, loading: "lazy", decoding: "async" });
      tile.replaceChildren(picture);
      name.setAttribute("aria-hidden", "true"); // the picture is called the same: one of the two is read out
      picture.addEventListener("error", () => {
        tile.replaceChildren(letter);
        name.removeAttribute("aria-hidden");
      });
    }
    const price = item.price === null ? null
      : h("span", { class: "price" }, new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(item.price));
    const reason = reasons.length ? h("span", {}, reasons[0]) : null;
    const anchor = h("a", { href: link.replaceAll("{id}", encodeURIComponent(item.item_id)) }, tile,
      h("span", { class: "text" }, name, h("span", { class: "foot" }, reason, price)));
    const clicked = () => {
      record("click", item.item_id, recommendationId, true);
      throws("click", { itemId: item.item_id, recommendationId });
    };
    anchor.addEventListener("click", clicked);
    anchor.addEventListener("auxclick", (event) => { if (event.button === 1) clicked(); });
    const entry = h("li", {}, anchor);
    entry.itemId = item.item_id;
    return entry;
  }

  /** Seen is what showed at least half of itself for a second: the usual measure of viewability. */
  function watch(cards, recommendationId) {
    const timers = new Map();
    const watcher = new IntersectionObserver((changes) => {
      for (const { target, intersectionRatio } of changes) {
        clearTimeout(timers.get(target));
        if (intersectionRatio < 0.5) continue;
        timers.set(target, setTimeout(() => {
          watcher.unobserve(target);
          record("viewable", target.itemId, recommendationId, false);
        }, 1000));
      }
    }, { threshold: [0, 0.5] });
    cards.forEach((one) => watcher.observe(one));
  }

  async function show() {
    const list = h("ul", { role: "list" }, ...Array.from({ length: wanted }, () => h("li", { class: "wait" })));
    const section = h("section", { "aria-label": title || "Similar products", "aria-busy": "true" }, title ? h("h2", {}, title) : null, list);
    root.append(section);
    try {
      const query = new URLSearchParams({ k: String(wanted) });
      const answer = await fetch(`${service}/v1/items/${encodeURIComponent(said.item)}/similar?${query}`, { headers: said.key ? { "x-api-key": said.key } : {} });
      if (!answer.ok) throw new Error(`${answer.status} ${(await answer.json().catch(() => ({}))).detail ?? ""}`);
      const { recommendations, recommendation_id: id } = await answer.json();
      const cards = recommendations.map((slot) => card(slot, id));
      if (!cards.length) throw new Error("the service has nothing to show");
      list.replaceChildren(...cards);
      section.removeAttribute("aria-busy");
      watch(cards, id);
      throws("shown", { recommendationId: id, items: recommendations.map(({ item }) => item.item_id) });
    } catch (error) {
      host.remove(); // a page without suggestions is better than a broken box on it
      console.warn(`recsys widget: ${error.message}`);
      tag.dispatchEvent(new CustomEvent("recsys:empty", { detail: error.message, bubbles: true }));
    }
  }

  function place() {
    const into = said.into ? document.querySelector(said.into) : null;
    if (said.into && !into) return console.warn(`recsys widget: data-into ${said.into} is not on this page`);
    if (into) into.append(host);
    else tag.after(host);
    if (said.item) show();
    else console.warn("recsys widget: data-item is missing");
  }
  if (said.into && document.readyState === "loading") addEventListener("DOMContentLoaded", place, { once: true });
  else place();
})();
