/**
 * Who is shopping, and what they did.
 *
 * A visitor starts anonymous under a random id kept in this browser. Events wait in a queue until the service has
 * taken them; each has its own id, so sending one twice counts once.
 */

import { Refused, postEvents } from "./api.js";

const KEY = "storefront.user";
const LARGEST_BATCH = 100;
const waiting = [];
let current = null;
let sending = null;

function randomId() {
  // randomUUID exists on secure origins only; a demo on a LAN address is none
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(userId) {
  current = userId;
  try {
    localStorage.setItem(KEY, userId);
  } catch {
    // storage is off: the name lasts as long as this page
  }
  return userId;
}

/** The id of the person shopping. */
export function userId() {
  if (current) return current;
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch {
    // storage is off
  }
  return kept ? (current = kept) : becomeStranger();
}

/** The same as people read it: anonymous visitors are "Visitor 3f2a". */
export function userName() {
  const id = userId();
  return id.startsWith("visitor-") ? `Visitor ${id.slice(8, 12)}` : id;
}

/** Go on as a customer the shop may know. */
export const become = (id) => remember(id);

/** Go on as somebody nobody knows. */
export const becomeStranger = () => remember(`visitor-${randomId()}`);

/**
 * Note that the person did something with an item, and hand it to the service.
 *
 * @param {"view"|"cart"|"purchase"} type
 * @param {string} itemId
 * @param {string|null} recommendationId the answer that suggested the item, if one did
 * @returns {Promise<void>} settles when the service has taken it; rejects with Away when it could not
 */
export function record(type, itemId, recommendationId = null) {
  const event = { event_id: randomId(), user_id: userId(), item_id: itemId, event_type: type };
  if (recommendationId) event.recommendation_id = recommendationId;
  waiting.push(event);
  return flush();
}

/** Send what is waiting; a second call while one is under way waits for it and sends the rest. */
export function flush() {
  sending = (sending ?? Promise.resolve()).catch(() => {}).then(sendAll);
  return sending;
}

/** A refused batch is sent again one by one, so that only the events that are refused themselves are given up. */
async function sendAll() {
  let alone = 0;
  let refused = null;
  while (waiting.length) {
    const batch = waiting.slice(0, alone > 0 ? 1 : LARGEST_BATCH);
    alone -= 1;
    try {
      await postEvents(batch);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (batch.length > 1) {
        alone = batch.length;
        continue;
      }
      refused ??= error; // it would be refused again
    }
    const settled = new Set(batch.map((event) => event.event_id));
    drop((event) => settled.has(event.event_id)); // others may have come or been forgotten meanwhile
  }
  if (refused) throw refused;
}

/** Forget what has not been sent yet about one person. */
export function dropWaiting(id) {
  drop((event) => event.user_id === id);
}

function drop(unwanted) {
  const kept = waiting.filter((event) => !unwanted(event));
  waiting.splice(0, waiting.length, ...kept);
}
