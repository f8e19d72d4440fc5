"""Writes `search/` into a bundle that is being written: terms, filters, the shared space, approximate indexes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from features.onnx.session import open_network, run_network
from features.stored_vocabulary import Places
from recsys.bundle_format import (
    DISPLAY,
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
    places_file,
    search_index_files,
)
from recsys.search.bm25 import Field, build_lexical
from recsys.search.config import SearchConfig
from recsys.search.encoding import TOWERS
from recsys.search.filters import value_lists
from recsys.search.spaces import build_approximate
from recsys.search.stored import FORMAT

log = structlog.get_logger()
_CHUNK = 4096


def build_search(
    folder: Path,
    members: Mapping[str, Mapping[str, list[int]]],
    vectors: Mapping[str, NDArray[np.float32]],
    config: SearchConfig,
) -> None:
    """Write everything a search needs, but for what is learned from searching (`with_fusion`).

    Args:
        folder: the bundle; its `display.jsonl` and `onnx/` are there.
        members: attribute → value → rows.
        vectors: "text" and "image" of the items, float32 [n_items, d]; a zero row = missing, d may be 0.
        config: weights.
    """
    (folder / SEARCH).parent.mkdir()
    shown = [orjson.loads(line) for line in (folder / DISPLAY).read_bytes().splitlines()]
    lexical = build_lexical((texts_of(item) for item in shown), fields_of(config), k1=config.k1)
    (folder / SEARCH_TERMS).write_bytes(orjson.dumps(list(lexical.terms)))
    Places.of(lexical.terms).save(folder / places_file(SEARCH_TERMS))
    shared = _shared(folder, vectors)
    prices = [np.nan if item["price"] is None else item["price"] for item in shown]
    for file, values in {
        SEARCH_POINTERS: lexical.indptr,
        SEARCH_ITEMS: lexical.items,
        SEARCH_WEIGHTS: lexical.weights,
        SEARCH_VALUES: value_lists(members),
        SEARCH_PRICES: np.array(prices),
        **shared,
    }.items():
        np.save(folder / file, np.ascontiguousarray(values, dtype=SEARCH_ARRAYS[file]), allow_pickle=False)
    spaces = {
        **vectors,
        **{Path(file).stem: rows for file, rows in shared.items()},
    }
    indexes = {}
    for name, rows in spaces.items():
        index, reduction = (folder / file for file in search_index_files(name))
        report = build_approximate(rows, reduced=config.reduced, index=index, reduction=reduction)
        if report is not None:
            indexes[name] = report
            log.info("search index built", space=name, **report)
    means = {"mean_lengths": lexical.mean_lengths}
    _write(folder, {"format": FORMAT, "config": config.model_dump(), "indexes": indexes, "fusion": {}} | means)


def with_fusion(folder: Path) -> None:
    """Learn the fusion by searching the bundle in `folder`, which is complete but for it, and note it there."""
    from recsys.bundle import Bundle
    from recsys.search.fusion_fit import learn_words
    from recsys.search.searcher import Searcher

    searcher = Searcher(Bundle.open(folder, verify=False))
    learned = learn_words(searcher)
    if learned["mrr"]:
        log.info("search fusion", **{**learned, "mrr": {name: round(mrr, 4) for name, mrr in learned["mrr"].items()}})
    _write(folder, {**searcher.stored.report, "fusion": {"words": learned}})


def fields_of(config: SearchConfig) -> tuple[Field, Field, Field]:
    """How much the texts of `texts_of` count."""
    return (
        Field(config.title_boost, config.short_length_penalty),
        Field(config.attribute_boost, config.short_length_penalty),
        Field(1.0, config.length_penalty),
    )


def texts_of(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Title, attribute values and description; words in a list are not taken for one another's neighbors."""
    values = dict.fromkeys(
        step.strip() for listed in item["attributes"].values() for value in listed for step in str(value).split(" > ")
    )
    return str(item["title"] or ""), "\n".join(values), str(item["description"] or "")


def _shared(folder: Path, vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Words and pictures of the items in the space they share; empty where the bundle has no match towers."""
    towers = {kind: folder / "onnx" / name for kind, name in TOWERS.items()}
    if not all(path.is_file() for path in towers.values()):
        return {}
    files = {"text": SEARCH_MATCH_TEXT, "image": SEARCH_MATCH_IMAGE}
    return {files[kind]: _through(path, vectors[kind]) for kind, path in towers.items()}


def _through(tower: Path, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors through a tower; zero rows, which stand for "missing", stay zero."""
    network = open_network(tower)
    found = [
        run_network(network, vector=np.ascontiguousarray(vectors[start : start + _CHUNK], dtype=np.float32))
        for start in range(0, len(vectors), _CHUNK)
    ]
    shared: NDArray[np.float32] = np.concatenate(found)
    shared[~np.any(vectors, axis=1)] = 0
    return shared


def _write(folder: Path, report: Mapping[str, Any]) -> None:
    (folder / SEARCH).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
