"""What a bundle holds under `search/`, written by `build.py`: opened memory-mapped, so that workers share it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle_files import map_array, map_ids
from recsys.bundle_format import (
    SEARCH,
    SEARCH_ARRAYS,
    SEARCH_ITEMS,
    SEARCH_MATCH_IMAGE,
    SEARCH_MATCH_TEXT,
    SEARCH_POINTERS,
    SEARCH_PRICES,
    SEARCH_TERMS,
    SEARCH_VALUES,
    SEARCH_WEIGHTS,
    BundleError,
    search_index_files,
)
from recsys.search.bm25 import LexicalIndex
from recsys.search.channels import PICTURE_TO_PICTURES, PICTURE_TO_WORDS
from recsys.search.config import SearchConfig
from recsys.search.encoding import CannotSearch
from recsys.search.filters import Filters
from recsys.search.fusion import Fusion
from recsys.search.spaces import Space, open_space

FORMAT = 1


@dataclass(frozen=True, eq=False)
class StoredSearch:
    """The opened index.

    Args:
        config: it was built with.
        lexical: the terms.
        spaces: the vectors, by name.
        filters: what queries can be limited to.
        fusion: how the channels of each side are fused.
        report: content of `search.json`: what was measured when the index was built.
    """

    config: SearchConfig
    lexical: LexicalIndex
    spaces: dict[str, Space]
    filters: Filters
    fusion: dict[str, Fusion]
    report: dict[str, Any]


def open_search(bundle: Bundle) -> StoredSearch:
    """Open a bundle's index.

    Raises:
        CannotSearch: the bundle was written without one.
        BundleError: a file is missing or damaged, or of a format that this version does not know.
    """
    if SEARCH not in bundle.manifest.files:
        raise CannotSearch(
            f"bundle {bundle.name} has no search index ({SEARCH} is missing): it was written by an older version; "
            "fit the shop again"
        )
    report: dict[str, Any] = orjson.loads((bundle.path / SEARCH).read_bytes())
    if report.get("format") != FORMAT:
        raise BundleError(f"{bundle.path / SEARCH}: format must be {FORMAT}, it is {report.get('format')}")
    array = {name: _array(bundle, name) for name in SEARCH_ARRAYS if name in bundle.manifest.files}
    config = SearchConfig.model_validate(report["config"])
    return StoredSearch(
        config=config,
        lexical=_lexical(bundle, array, report.get("mean_lengths")),
        spaces=_spaces(bundle, array),
        filters=Filters(bundle.attribute_counts, array[SEARCH_VALUES], array[SEARCH_PRICES], bundle.available),
        fusion={
            "words": Fusion(config.rank_constant, report["fusion"].get("words", {}).get("weights")),
            "picture": Fusion(
                config.rank_constant, {PICTURE_TO_PICTURES: 1.0, PICTURE_TO_WORDS: config.picture_to_words}
            ),
        },
        report=report,
    )


def _lexical(bundle: Bundle, array: dict[str, NDArray[Any]], mean_lengths: list[float] | None) -> LexicalIndex:
    terms = map_ids(bundle.path, SEARCH_TERMS, bundle.manifest.files)
    pointers, items, weights = (array[name] for name in (SEARCH_POINTERS, SEARCH_ITEMS, SEARCH_WEIGHTS))
    if len(pointers) != len(terms) + 1 or len(items) != len(weights) or pointers[-1] != len(items):
        raise BundleError(f"{bundle.path / SEARCH_POINTERS}: must lead through the terms and their postings")
    return LexicalIndex(terms, pointers, items, weights, len(bundle), mean_lengths)


def _spaces(bundle: Bundle, array: dict[str, NDArray[Any]]) -> dict[str, Space]:
    vectors: dict[str, NDArray[np.float32]] = {"text": bundle.text_vectors, "image": bundle.image_vectors}
    for name, file in (("match_text", SEARCH_MATCH_TEXT), ("match_image", SEARCH_MATCH_IMAGE)):
        if file in array:
            if len(array[file]) != len(bundle):
                raise BundleError(
                    f"{bundle.path / file}: must have a row an item ({len(bundle)}), has {len(array[file])}"
                )
            vectors[name] = array[file]
    spaces: dict[str, Space] = {}
    for name, rows in vectors.items():
        index, reduction = (_held(bundle, file) for file in search_index_files(name))
        if rows.shape[1]:
            spaces[name] = open_space(rows, index, reduction)
    return spaces


def _held(bundle: Bundle, file: str) -> Path | None:
    return bundle.path / file if file in bundle.manifest.files else None


def _array(bundle: Bundle, name: str) -> NDArray[Any]:
    return map_array(bundle.path, name, bundle.manifest.files[name])
