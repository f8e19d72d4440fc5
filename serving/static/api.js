/**
 * The service's answers, and what happens when there is none.
 *
 * `answers` tells listeners about "answer" (detail: latency in ms and, where the answer has them, model and store)
 * and about "away" (the service cannot be reached or failed), and about "locked" (it asks for an API key, or another).
 */

export const answers = new EventTarget();

/** The service cannot be reached, is not ready, or failed: worth trying again. */
export class Away extends Error {}

/** The service understood and refused; `status` says how, `detail` why in its own words. */
export class Refused extends Error {
  constructor(status, message, detail = "") {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

/** The API key typed in this tab; none where none was needed, or where storage is off. */
function apiKey() {
  try {
    return sessionStorage.getItem("recsys-key");
  } catch {
    return null;
  }
}

async function ask(path, { method = "GET", body, signal } = {}) {
  const started = performance.now();
  let response;
  let answer = null;
  const form = body instanceof FormData;
  const headers = body && !form ? { "content-type": "application/json" } : {};
  if (apiKey()) headers["x-api-key"] = apiKey();
  try {
    response = await fetch(path, {
      method,
      signal,
      headers,
      body: body && !form ? JSON.stringify(body) : body,
    });
    if (response.headers.get("content-type")?.includes("json")) answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw away("The shop does not answer.");
  }
  if (response.status >= 500) throw away(`The shop answered with error ${response.status}.`);
  if (response.status === 401 || answer?.type?.endsWith(":scope-missing")) {
    answers.dispatchEvent(new CustomEvent("locked", { detail: answer?.detail ?? "" }));
    throw new Away("The shop asks for a key.");
  }
  if (!response.ok) throw new Refused(response.status, `The shop refused this (${response.status}).`, answer?.detail);
  const detail = { latencyMs: performance.now() - started, model: answer?.model_version, store: answer?.store };
  answers.dispatchEvent(new CustomEvent("answer", { detail }));
  return answer;
}

function away(message) {
  answers.dispatchEvent(new CustomEvent("away", { detail: message }));
  return new Away(message);
}

const itemPath = (itemId) => `/v1/items/${encodeURIComponent(itemId)}`;
const userPath = (userId) => `/v1/users/${encodeURIComponent(userId)}`;

export function listItems({ offset = 0, k = 24, q = "", category = "" }, signal) {
  const query = new URLSearchParams({ k: String(k), offset: String(offset) });
  if (q) query.set("q", q);
  if (category) query.set("category", category);
  return ask(`/v1/items?${query}`, { signal });
}

/**
 * Items by words, by a picture, or both, in the order that suits a person.
 *
 * @param {{q?: string, picture?: File|null, userId: string, offset?: number, k?: number}} asked
 */
export function searchItems({ q = "", picture = null, userId, offset = 0, k = 24 }, signal) {
  const query = { words: q, user_id: userId, offset, k };
  if (!picture) return ask("/v1/search", { method: "POST", body: query, signal });
  const form = new FormData();
  form.set("query", JSON.stringify(query));
  form.set("picture", picture);
  return ask("/v1/search", { method: "POST", body: form, signal });
}

export const getItem = (itemId, signal) => ask(itemPath(itemId), { signal });
export const similarItems = (itemId, signal) => ask(`${itemPath(itemId)}/similar?k=12`, { signal });
export const feed = (userId, signal) => ask(`${userPath(userId)}/feed?k=12`, { signal });
export const getUser = (userId) => ask(userPath(userId));
export const forgetUser = (userId) => ask(userPath(userId), { method: "DELETE" });
export const postEvents = (events) => ask("/v1/events", { method: "POST", body: { events } });
