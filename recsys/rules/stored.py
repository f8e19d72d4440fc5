"""The columns that rules are put to, as a bundle holds them: read in a moment, where to work them out takes a second.

Titles and descriptions are not among them: few rules ask for texts, and those read the display data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from features.pace import gently
from features.vocabulary import Vocabulary
from recsys.bundle_format import COLUMNS, BundleError, Manifest
from recsys.rules.facts import Facts


@dataclass(frozen=True, eq=False)
class StoredColumns:
    """Columns of one catalog.

    Args:
        shown_as: folded attribute → as the shop writes it.
        values: folded attribute → its folded values.
        pointers: int64 [n_values + 1]; value v, counted through all attributes, has
            `rows[pointers[v]:pointers[v + 1]]`.
        rows: int64; of the items that have each value, rising.
        price: float64 [n_items], NaN where unknown.
        available: bool [n_items].
    """

    shown_as: Mapping[str, str]
    values: Mapping[str, list[str]]
    pointers: NDArray[np.int64]
    rows: NDArray[np.int64]
    price: NDArray[np.float64]
    available: NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path, manifest: Manifest, n_items: int) -> StoredColumns | None:
        """Those of a bundle; None where it was written without.

        Raises:
            BundleError: they do not fit one another, or the bundle.
        """
        if not all(name in manifest.files for name in COLUMNS):
            return None
        said, columns = (path / name for name in COLUMNS)
        try:
            about = orjson.loads(said.read_bytes())
            stored = cls(about["shown_as"], about["values"], **load_file(columns))
            n_values = sum(map(len, stored.values.values()))
        except (OSError, SafetensorError, KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
            raise BundleError(f"{columns}: cannot be read with {said.name} ({error!r})") from error
        for name, length in (
            ("pointers", n_values + 1),
            ("rows", int(stored.pointers[-1:].sum())),
            ("price", n_items),
            ("available", n_items),
        ):
            shape = getattr(stored, name).shape
            if shape != (length,):
                raise BundleError(f"{columns}: the shape of {name!r} must be ({length},), it is {shape}")
        return stored

    def facts(self, items: Vocabulary) -> Facts:
        """As rules are put to them."""
        ends = self.pointers.tolist()
        lists: dict[str, dict[str, NDArray[np.int64]]] = {name: {} for name in self.values}
        every = ((name, value) for name, values in self.values.items() for value in values)
        for number, (name, value) in enumerate(gently(every)):
            lists[name][value] = self.rows[ends[number] : ends[number + 1]]
        return Facts.of_columns(
            items, price=self.price, available=self.available, shown_as=dict(self.shown_as), lists=dict(lists)
        )


def write_columns(folder: Path, facts: Facts) -> None:
    """Write the columns of a catalog into a bundle that is being made."""
    lists = {name.casefold(): facts.values(name) for name in facts.attributes}
    every = [rows for by_value in lists.values() for rows in by_value.values()]
    about = {
        "shown_as": {name.casefold(): name for name in facts.attributes},
        "values": {name: list(by_value) for name, by_value in lists.items()},
    }
    arrays = {
        "pointers": np.cumsum([0, *map(len, every)], dtype=np.int64),
        "rows": np.concatenate([np.zeros(0, dtype=np.int64), *every]),
        "price": facts.price,
        "available": facts.available,
    }
    said, columns = (folder / name for name in COLUMNS)
    said.parent.mkdir()
    said.write_bytes(orjson.dumps(about))
    save_file(arrays, columns)
