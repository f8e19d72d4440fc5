/**
 * Category paths. An item of "Kitchen > Mug" has two values, "Kitchen" and "Kitchen > Mug": each is a place to browse.
 */

const SEPARATOR = " > ";

export const categoryHref = (value) => `#/?${new URLSearchParams({ category: value })}`;

/** The last part of a path: "Mug" of "Kitchen > Mug". */
export const leaf = (value) => value.split(SEPARATOR).pop();

/** The paths from the top to one value: "Kitchen", then "Kitchen > Mug". */
export function trail(value) {
  const parts = value.split(SEPARATOR);
  return parts.map((_, depth) => parts.slice(0, depth + 1).join(SEPARATOR));
}

/** The values of an item that no other value of it goes deeper than. */
export function deepest(item) {
  const values = item.attributes?.category ?? [];
  return values.filter((value) => !values.some((other) => other.startsWith(value + SEPARATOR)));
}

/** Where to go from a category, or from the whole shop (""): the values one level below. */
export function below(category, values) {
  const depth = category ? category.split(SEPARATOR).length + 1 : 1;
  return values.filter((value) => value.split(SEPARATOR).length === depth && (!category || value.startsWith(category + SEPARATOR)));
}
