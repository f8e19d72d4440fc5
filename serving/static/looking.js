/**
 * The search box: words as they are typed, and a picture chosen, dropped or pasted.
 *
 * Pictures cannot stand in an address, so each gets a number there ("#/?picture=2") and is kept here while the page
 * lives.
 */

import { byId, toast } from "./dom.js";

const TYPING_MS = 220;
const LARGEST_BYTES = 11_000_000;
const pictures = [];

/** The picture of an address's number, null where this page has none. */
export const pictureOf = (number) => pictures[Number(number) - 1] ?? null;

/** The address of a search. */
export function searchHref(q, number) {
  const query = new URLSearchParams();
  if (q) query.set("q", q);
  if (number) query.set("picture", String(number));
  return query.size ? `#/?${query}` : "#/";
}

/**
 * Let the box search.
 *
 * @param {function(string): void} look called with the address of each new search
 */
export function wireSearch(look) {
  const box = byId("search");
  const chooser = byId("picture-file");
  let typed = 0;

  const search = () => {
    clearTimeout(typed);
    look(searchHref(byId("query").value.trim(), box.dataset.picture));
  };

  function take(file) {
    if (!file) return;
    if (!file.type.startsWith("image/")) return toast("That is no picture.");
    if (file.size > LARGEST_BYTES) return toast("That picture is too large.");
    pictures.push(file);
    showPicture(pictures.length);
    search();
  }

  byId("query").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(search, TYPING_MS);
  });
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("picture-choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    take(chooser.files[0]);
    chooser.value = ""; // choosing the same file again is a choice
  });
  byId("picture-remove").addEventListener("click", () => {
    showPicture("");
    byId("query").focus();
    search();
  });
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.items].some((item) => item.kind === "file")) return;
    event.preventDefault();
    box.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? box.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    box.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

/** Show in the box which picture is searched by; "" for none. */
export function showPicture(number) {
  const box = byId("search");
  const file = pictureOf(number);
  if ((box.dataset.picture ?? "") === String(file ? number : "")) return;
  box.dataset.picture = file ? String(number) : "";
  byId("picture-shown").hidden = !file;
  byId("picture-choose").hidden = Boolean(file);
  if (!file) return;
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    byId("picture-thumb").src = reader.result;
  });
  reader.readAsDataURL(file);
}
