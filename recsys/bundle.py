"""The bundle: everything training hands to serving, read back as memory-mapped arrays.

Opening one costs, if asked for, the hashing of the files; ids, vectors and the display data of an item are read from
disk when first touched.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import InputError
from features.match.stored import StoredMatch
from features.pace import gently
from features.vocabulary import Vocabulary
from recsys.bundle_files import check_axes, check_file, map_array, map_file, map_ids, neighbor_arrays
from recsys.bundle_format import (
    ATTRIBUTE_COUNTS,
    CATEGORIES,
    DISPLAY,
    INDEX,
    ITEMS,
    RANKER,
    SCENARIOS,
    SEARCH_PRICES,
    STANDING,
    USERS,
    BundleError,
    Manifest,
    read_manifest,
)
from recsys.bundle_parts import ColdNodes, NeighborList, read_match
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import COLUMNS, Standing
from recsys.rules.stored import StoredColumns


@dataclass(frozen=True, eq=False)
class Bundle:
    """An open bundle; open one with `Bundle.open`.

    Args:
        path: its directory.
        manifest: what it was made from, and the size and hash of each file.
        items: outside ids; row i of every item array belongs to id i.
        users: outside ids of the users, likewise.
        item_vectors: float32 [n_items, dim + 1]; an item's embedding, then its prior for being liked by anyone.
        user_embeddings: float32 [n_users, dim]; score = user embedding . item embedding + item prior.
        text_vectors, image_vectors: float32 [n_items, d_text] and [n_items, d_image]; a zero row = missing.
        similar: the published similar-items lists.
        popularity: float32 [n_items]; 0 = nobody.
        match_scores: float32 [n_items] in [0, 1]; NaN where picture or text is missing.
        available: bool [n_items].
        seen_indptr, seen_indices: int64 [n_users + 1], int32; the items each user is known to have met, CSR.
        neighbors: content likeness by modality ("text", "image"), for cold items and explanations.
        co_idx, co_count: int32 [n_items, k_co]; the items most often met by the same users, and by how many.
        category_names: the categories, each with its members, most popular first, in
            `category_items[category_indptr[c]:category_indptr[c + 1]]`.
        category_attribute: the attribute that says an item's category, "" where the shop has none.
    """

    path: Path
    manifest: Manifest
    items: Vocabulary
    users: Vocabulary
    item_vectors: NDArray[np.float32]
    user_embeddings: NDArray[np.float32]
    text_vectors: NDArray[np.float32]
    image_vectors: NDArray[np.float32]
    similar: NeighborList
    popularity: NDArray[np.float32]
    match_scores: NDArray[np.float32]
    available: NDArray[np.bool_]
    seen_indptr: NDArray[np.int64]
    seen_indices: NDArray[np.int32]
    neighbors: Mapping[str, NeighborList]
    co_idx: NDArray[np.int32]
    co_count: NDArray[np.int32]
    category_names: Vocabulary
    category_indptr: NDArray[np.int64]
    category_items: NDArray[np.int32]
    category_attribute: str
    display_offsets: NDArray[np.int64]

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Bundle:
        """Open a bundle.

        Args:
            path: the bundle's directory.
            verify: also hash every file (about 1 s a GB); sizes, dtypes and shapes are always checked.

        Raises:
            BundleError: the manifest is missing or of another major version, or a file is missing or differs from
                the manifest in size, hash, dtype or shape; the message names the file.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, entry in gently(sorted(manifest.files.items())):
            check_file(path, name, entry, verify=verify)
        array = {name: map_array(path, name, entry) for name, entry in gently(manifest.files.items()) if entry.dtype}
        check_axes(path, array)
        categories = orjson.loads((path / CATEGORIES).read_bytes())
        bundle = cls(
            path=path,
            manifest=manifest,
            items=map_ids(path, ITEMS, manifest.files),
            users=map_ids(path, USERS, manifest.files),
            similar=NeighborList(array["similar_idx.npy"], array["similar_score.npy"]),
            neighbors={name: NeighborList(*pair) for name, pair in neighbor_arrays(path, array).items()},
            co_idx=array["graph/co_idx.npy"],
            co_count=array["graph/co_count.npy"],
            category_names=Vocabulary(tuple(categories["names"])),
            category_attribute=categories["attribute"],
            **{name: array[f"{name}.npy"] for name in _PLAIN_FIELDS},
        )
        for name, ids, rows in (
            (ITEMS, bundle.items, bundle.popularity),
            (USERS, bundle.users, bundle.user_embeddings),
        ):
            if len(ids) != len(rows):
                raise BundleError(
                    f"{path / name}: must have an id a row of the arrays ({len(rows)}), it has {len(ids)}"
                )
        return bundle

    @property
    def version(self) -> str:
        """16 hex digits that follow from the content."""
        return self.manifest.version

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.version

    def __len__(self) -> int:
        return len(self.items)

    @property
    def item_embeddings(self) -> NDArray[np.float32]:
        """Items' side of the user-item product, float32 [n_items, dim]."""
        return self.item_vectors[:, :-1]

    @property
    def item_prior(self) -> NDArray[np.float32]:
        """What is added to an item's score for every user, float32 [n_items]."""
        return self.item_vectors[:, -1]

    @property
    def removed(self) -> NDArray[np.int64]:
        """Rows of items that are gone and never shown, int64; a bundle by itself has none."""
        return np.zeros(0, dtype=np.int64)

    def seen(self, user_idx: int) -> NDArray[np.int64]:
        """Row numbers of a user's training items, int64, in the order they were given."""
        return self.seen_indices[self.seen_indptr[user_idx] : self.seen_indptr[user_idx + 1]].astype(np.int64)

    def together(self, item_idx: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the items most often met by the same users as an item, and by how many users; int64 both."""
        idx = self.co_idx[item_idx]
        known = idx >= 0
        return idx[known].astype(np.int64), self.co_count[item_idx][known].astype(np.int64)

    def together_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """As `together`, of some items at once: int32 [n, k_co] both; -1 and 0 pad."""
        return self.co_idx.take(rows, axis=0), self.co_count.take(rows, axis=0)

    def met_both(self, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Users who met both items of each pair, int64 [n]; 0 where neither item's list has the pair.

        Args:
            ours: int64 [n]; row of one item of each pair.
            theirs: int64 [n]; row of the other.
        """
        idx, count = self.together_of(np.concatenate([ours, theirs]))
        listed = idx == np.concatenate([theirs, ours])[:, None]
        users = np.where(listed, count, 0).max(axis=1, initial=0).astype(np.int64)
        of_ours, of_theirs = users[: len(ours)], users[len(ours) :]
        found: NDArray[np.int64] = np.where(of_ours > 0, of_ours, of_theirs)
        return found

    def display_json(self, item_idx: int) -> bytes:
        """An item's display data as JSON bytes, ready to be sent."""
        return self._display_map[int(self.display_offsets[item_idx]) : int(self.display_offsets[item_idx + 1]) - 1]

    def display(self, item_idx: int) -> dict[str, Any]:
        """An item's display data: item_id, title, description, price, available, image, attributes {name: [values]}."""
        parsed: dict[str, Any] = orjson.loads(self.display_json(item_idx))
        return parsed

    def displays(self) -> Iterator[dict[str, Any]]:
        """The display data of all items in row order."""
        return (self.display(item_idx) for item_idx in range(len(self)))

    def categories_of(self, item_idx: int) -> list[str]:
        """An item's categories, or [] where it has none."""
        values: list[str] = self.display(item_idx).get("attributes", {}).get(self.category_attribute, [])
        return [value for value in values if value in self.category_names]

    def category_members(self, category: str) -> NDArray[np.int64]:
        """Row numbers of a category's items, int64, most popular first; empty where the category is unknown."""
        if category not in self.category_names:
            return np.zeros(0, dtype=np.int64)
        row = self.category_names.idx(category)
        return self.category_items[self.category_indptr[row] : self.category_indptr[row + 1]].astype(np.int64)

    @cached_property
    def attribute_counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many items share each attribute value; read on first use."""
        counts: dict[str, dict[str, int]] = orjson.loads((self.path / ATTRIBUTE_COUNTS).read_bytes())
        return counts

    @property
    def index_path(self) -> Path | None:
        """The saved approximate index of the item embeddings, None where the search is exact."""
        return self.path / INDEX if INDEX in self.manifest.files else None

    def onnx(self, name: str) -> Path | None:
        """The exported network `onnx/NAME`, or None where the bundle has no such one."""
        return self.path / "onnx" / name if f"onnx/{name}" in self.manifest.files else None

    @cached_property
    def match(self) -> StoredMatch | None:
        """What scores listings that are new or changed; None where the bundle was written without.

        Raises:
            BundleError: it cannot be read, or is of vectors of another length.
        """
        widths = (self.text_vectors.shape[1], self.image_vectors.shape[1])
        return read_match(self.path, self.manifest, widths)

    @cached_property
    def ranker(self) -> LinearRanker | None:
        """What orders the candidates of a feed; None where they stand by taste and prior.

        Raises:
            BundleError: it is none that this version can use.
        """
        if RANKER not in self.manifest.files:
            return None
        try:
            return LinearRanker.of_dict(orjson.loads((self.path / RANKER).read_bytes()))
        except InputError as error:
            raise BundleError(f"{self.path / RANKER}: {error}") from error

    @cached_property
    def prices(self) -> NDArray[np.float32]:
        """Prices of the items, float32 [n_items]; NaN where unknown."""
        if SEARCH_PRICES in self.manifest.files:
            return map_array(self.path, SEARCH_PRICES, self.manifest.files[SEARCH_PRICES])
        told = (display["price"] for display in self.displays())
        return np.array([np.nan if price is None else price for price in told], dtype=np.float32)

    @cached_property
    def columns(self) -> StoredColumns | None:
        """What rules are put to; None where the bundle was written without.

        Raises:
            BundleError: its files do not fit one another.
        """
        return StoredColumns.read(self.path, self.manifest, len(self))

    @cached_property
    def standing(self) -> Standing:
        """What is known of each item that moves with time, as of when the bundle was made.

        Raises:
            BundleError: it has another shape.
        """
        if STANDING not in self.manifest.files:
            return Standing.of_nothing(len(self))
        there = SCENARIOS in self.manifest.files
        names = orjson.loads((self.path / SCENARIOS).read_bytes()) if there else []
        found, ours = map_array(self.path, STANDING, self.manifest.files[STANDING]), len(COLUMNS)
        shape = (len(self), ours + 2 * len(names))
        if found.shape != shape:
            raise BundleError(f"{self.path / STANDING}: shape must be {shape}, it is {found.shape}")
        scenarios = {name: found[:, ours + 2 * n : ours + 2 * n + 2] for n, name in enumerate(names)}
        return Standing(found[:, :ours], scenarios)

    @cached_property
    def cold(self) -> ColdNodes | None:
        """What new items are placed by; None where the bundle was written without."""
        return ColdNodes.read(self.path, self.manifest, n_items=len(self), dim=self.item_embeddings.shape[1])

    @cached_property
    def _display_map(self) -> mmap.mmap:
        return map_file(self.path / DISPLAY)


_PLAIN_FIELDS = (
    "item_vectors",
    "user_embeddings",
    "text_vectors",
    "image_vectors",
    "popularity",
    "match_scores",
    "available",
    "seen_indptr",
    "seen_indices",
    "category_indptr",
    "category_items",
    "display_offsets",
)
