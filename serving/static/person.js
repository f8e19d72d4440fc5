/**
 * The sheet behind the visitor's name: who is shopping, what the shop remembers, and how to make it forget.
 */

import { forgetUser, getUser } from "./api.js";
import { itemHref } from "./cards.js";
import { byId, h, hueOf, toast } from "./dom.js";
import { become, becomeStranger, dropWaiting, userId, userName } from "./visitor.js";

const DID = { view: "Looked at", click: "Clicked", cart: "Put in the cart", purchase: "Bought", like: "Liked" };

/** Write the visitor's name into the header. */
export function showName() {
  const name = userName();
  byId("person-name").textContent = name;
  byId("person-face").textContent = [...name][0].toUpperCase();
  byId("person-face").style.setProperty("--hue", hueOf(userId()));
  byId("sheet-user").textContent = name;
}

/** Wire the sheet; `changed` is called with a remark after another person took over or everything was forgotten. */
export function wireSheet(changed) {
  const sheet = byId("sheet");
  byId("person").addEventListener("click", () => {
    showName();
    sheet.showModal();
    drawHistory();
  });
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet || event.target.closest("a")) sheet.close();
  });
  byId("switch").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = byId("user-id").value.trim();
    if (!id) return;
    byId("user-id").value = "";
    become(id);
    done(`Shopping as ${userName()}.`);
  });
  byId("stranger").addEventListener("click", () => {
    becomeStranger();
    done("A new visitor: nothing is known yet.");
  });
  byId("forget").addEventListener("click", async () => {
    const id = userId();
    dropWaiting(id);
    try {
      await forgetUser(id);
    } catch {
      toast("Not forgotten yet: the shop does not answer.");
      return;
    }
    done("The shop has forgotten what you did.");
  });

  function done(remark) {
    showName();
    sheet.close();
    toast(remark);
    changed(remark);
  }
}

async function drawHistory() {
  const list = byId("history");
  list.replaceChildren(h("li", { class: "quiet" }, "Asking …"));
  try {
    const events = (await getUser(userId())).events.slice(-8).reverse();
    list.replaceChildren(...events.map((event) => h("li", {},
      h("span", { class: "quiet" }, DID[event.event_type] ?? event.event_type), " ",
      h("a", { href: itemHref(event.item_id) }, event.item.title))));
    if (!events.length) list.replaceChildren(h("li", { class: "quiet" }, "Nothing."));
  } catch {
    list.replaceChildren(h("li", { class: "quiet" }, "The shop does not answer."));
  }
}
