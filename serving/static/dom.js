/**
 * Elements without markup strings: text becomes text nodes, so nothing a shop or a visitor wrote is ever parsed.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Build an element.
 *
 * @param {string} name tag name; "svg:circle" makes an SVG element
 * @param {Object<string, any>} props attributes; `on` holds listeners by event, `false` and `null` leave one out
 * @param {...(Node|string|number|null|undefined|Array)} children nodes or text; null ones are left out
 */
export function h(name, props = {}, ...children) {
  const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** True where the visitor's system asks for little motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** A number the same text always gets, 0 to 359: the hue of a text tile. */
export function hueOf(text) {
  let hash = 2166136261;
  for (const sign of text) hash = Math.imul(hash ^ sign.codePointAt(0), 16777619);
  return (hash >>> 0) % 360;
}

/** A price as the reader's language writes it; shops name no currency, so none is shown. */
export function money(price) {
  return new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(price);
}

/** Attribute names as words: "screen_size" reads "Screen size". */
export function words(name) {
  const spaced = name.replaceAll("_", " ").trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

let toastTimer = 0;

/** Say something short at the foot of the page; screen readers hear it too. */
export function toast(message) {
  const box = byId("toast");
  box.textContent = message;
  box.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.classList.remove("shown"), 2600);
}
