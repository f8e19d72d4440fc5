"""What a bundle on disk must look like: its files, their dtypes and shapes, and the manifest that vouches for them.

Writer (`bundle_writer.py`) and reader (`bundle.py`) both follow the tables here, so they cannot drift apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from features.errors import InputError
from features.match.stored import ABOUT, TENSORS

FORMAT_VERSION = "1.3"
"""Major.minor; a reader refuses another major version and accepts a newer minor one. 1.1 added `places_file`; a bundle
without is read all the same, only not as fast, and whoever knows 1.0 alone reads a bundle with. 1.2 added `MATCH`; a
bundle without is read all the same, only scores no listing that changes while it is served. 1.3 added `COLUMNS`;
without them rules are compiled from the display data."""

MANIFEST = "manifest.json"
INDEX = "index.faiss"
ITEMS, USERS, DISPLAY = "items.json", "users.json", "display.jsonl"
ATTRIBUTE_COUNTS, CATEGORIES = "attributes.json", "categories.json"

ARRAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "item_vectors.npy": ("<f4", ("n_items", "dim + 1")),
    "user_embeddings.npy": ("<f4", ("n_users", "dim")),
    "text_vectors.npy": ("<f4", ("n_items", "d_text")),
    "image_vectors.npy": ("<f4", ("n_items", "d_image")),
    "similar_idx.npy": ("<i4", ("n_items", "k_similar")),
    "similar_score.npy": ("<f4", ("n_items", "k_similar")),
    "popularity.npy": ("<f4", ("n_items",)),
    "match_scores.npy": ("<f4", ("n_items",)),
    "available.npy": ("|b1", ("n_items",)),
    "seen_indptr.npy": ("<i8", ("n_users + 1",)),
    "seen_indices.npy": ("<i4", ("n_seen",)),
    "display_offsets.npy": ("<i8", ("n_items + 1",)),
    "category_indptr.npy": ("<i8", ("n_categories + 1",)),
    "category_items.npy": ("<i4", ("n_memberships",)),
    "graph/co_idx.npy": ("<i4", ("n_items", "k_co")),
    "graph/co_count.npy": ("<i4", ("n_items", "k_co")),
}
"""Every array a bundle holds: little-endian dtype, and the meaning of each axis (one name, one length)."""

FILES = (ITEMS, USERS, DISPLAY, ATTRIBUTE_COUNTS, CATEGORIES, *ARRAYS)
"""Every file a bundle must hold, beside optional `graph/NAME_idx.npy` pairs, the `COLD` files, `index.faiss`,
`RANKER`, `STANDING`, `SCENARIOS`, `MATCH`, `COLUMNS`, `onnx/`, `search/` and `places_file`."""

COLD = ("graph/cold.json", "graph/value_messages.npy", "graph/item_messages.npy")
"""What new items are placed by: the attribute values and the newcomers' prior; what each value says, `<f4` [n_values,
dim]; what each item says, `<f4` [n_items, dim]. All three or none."""

RANKER = "rank/ranker.json"
"""The learned ranker of `recsys/ranking/`; a bundle whose fit found none that is better has no such file."""
STANDING = "rank/standing.npy"
"""What a ranker goes by that moves with time, as it was when the bundle was made, `<f4` [n_items, 3 + 2 n_scenarios]:
the columns of `recsys/ranking/standing.py`, then the counted two of each scenario in `SCENARIOS`; a bundle that knows
nothing of it has no such file."""
SCENARIOS = "rank/scenarios.json"
"""Names of the scenarios whose counters `STANDING` holds; a bundle without has none."""

MATCH = tuple(f"match/{name}" for name in (ABOUT, TENSORS))
"""The match model, by which listings are scored that are new or have new words or another picture: as
`features.match.model.MatchModel` is saved. Both or none; a shop with too few pairs has no model."""

COLUMNS = ("facts/columns.json", "facts/columns.safetensors")
"""What rules are put to (`recsys/rules/stored.py`): attributes and their values, and the rows that have each, with
prices and availability. Both or none."""

SEARCH, SEARCH_TERMS = "search/search.json", "search/terms.json"
SEARCH_POINTERS, SEARCH_ITEMS = "search/term_pointers.npy", "search/posting_items.npy"
SEARCH_WEIGHTS, SEARCH_VALUES, SEARCH_PRICES = "search/weights.npy", "search/value_items.npy", "search/prices.npy"
SEARCH_MATCH_TEXT, SEARCH_MATCH_IMAGE = "search/match_text.npy", "search/match_image.npy"
SEARCH_ARRAYS: Mapping[str, str] = {
    SEARCH_POINTERS: "<i8",
    SEARCH_ITEMS: "<i4",
    SEARCH_WEIGHTS: "<f4",
    SEARCH_VALUES: "<i4",
    SEARCH_PRICES: "<f4",
    SEARCH_MATCH_TEXT: "<f4",
    SEARCH_MATCH_IMAGE: "<f4",
}
"""What queries are answered by (`recsys/search`): postings of the terms, CSR; items of each attribute value, in the
order of `attributes.json`; prices [n_items]; the items' words and pictures in the space of the match model, [n_items,
dim], where there is one. A bundle without `search.json` has none of them."""


def places_file(ids: str) -> str:
    """What says where the ids of `ITEMS`, `USERS` or `SEARCH_TERMS` are: `features.stored_vocabulary.Places`."""
    return ids.removesuffix(".json") + ".places"


def search_index_files(space: str) -> tuple[str, str]:
    """The approximate index of one kind of vectors, and what reduces them; a large catalog alone has them."""
    return f"search/{space}.faiss", f"search/{space}.reduction"


def neighbor_files(name: str) -> tuple[str, str]:
    """The two files of a neighbor list: row numbers (`<i4`, -1 pads) and cosines (`<f4`), both [n_items, k]."""
    return f"graph/{name}_idx.npy", f"graph/{name}_score.npy"


class BundleError(InputError):
    """A bundle cannot be used; the message names the file and what is wrong with it."""


class FileEntry(BaseModel):
    """What the manifest says of one file; dtype and shape are None where it is no array."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int
    dtype: str | None = None
    shape: tuple[int, ...] | None = None


class Manifest(BaseModel):
    """The last file written to a bundle: what it was made from, and the size and hash of every other file.

    A key this version does not know is ignored: a newer minor version may add some.
    """

    model_config = ConfigDict(frozen=True)

    format_version: str
    version: str
    """First 16 hex digits of a SHA-256 over the names and hashes of all files: equal content, equal version."""
    created: str
    """UTC, ISO 8601."""
    config: dict[str, Any]
    fingerprints: dict[str, Any]
    git_commit: str | None
    metrics: dict[str, Any]
    """Undefined values are null."""
    index: dict[str, Any] | None = None
    """How the approximate index was chosen (kind, measured recall); None where the search is exact."""
    files: dict[str, FileEntry]

    def dumps(self) -> bytes:
        """As JSON; NaN becomes null."""
        return orjson.dumps(
            self.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
        )


def content_version(files: Mapping[str, FileEntry]) -> str:
    """The version of a bundle with these files, whatever their order."""
    lines = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def read_manifest(directory: Path) -> Manifest:
    """Read and judge `manifest.json`.

    Raises:
        BundleError: it is missing or unreadable, of another major version, names a path outside the bundle,
            lacks a file, or its version does not follow from its hashes.
    """
    path = directory / MANIFEST
    try:
        raw = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{directory}: {MANIFEST} is missing, so this is no complete bundle") from None
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{path}: not valid JSON ({error})") from error
    found = str(raw.get("format_version")) if isinstance(raw, dict) else "none"
    major = FORMAT_VERSION.partition(".")[0]
    if found.partition(".")[0] != major:
        raise BundleError(f"{path}: format version must be {major}.x, it is {found}")
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {place}: {first['msg']}") from error
    for name in manifest.files:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise BundleError(f"{path}: a file must lie inside the bundle, {name!r} does not")
    for name in FILES:
        if name not in manifest.files:
            raise BundleError(f"{path}: a bundle must hold {name}, this manifest does not list it")
    expected = content_version(manifest.files)
    if manifest.version != expected:
        raise BundleError(f"{path}: version must follow from the file hashes ({expected}), it is {manifest.version}")
    return manifest
