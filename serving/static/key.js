/**
 * The API key of a service that asks for one: typed once a tab, kept until the tab is closed.
 */

import { answers } from "./api.js";
import { byId } from "./dom.js";

/** Ask for a key when the service refuses for lack of one; `changed` is called once one was given. */
export function wireKey(changed) {
  const dialog = byId("key-sheet");
  answers.addEventListener("locked", ({ detail }) => {
    byId("key-why").textContent = detail;
    if (!dialog.open) dialog.showModal();
  });
  byId("key-form").addEventListener("submit", () => {
    sessionStorage.setItem("recsys-key", byId("key").value.trim());
    byId("key").value = "";
    changed();
  });
}
