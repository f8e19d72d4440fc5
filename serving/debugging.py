"""An item under the glass: what is near it, and where it stands in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.amended.bundle import AmendedBundle
from recsys.pipeline.trace import Standing
from recsys.recommender import BundleRecommender
from serving.asked import DebugQuery


def surface_of(query: DebugQuery) -> str:
    """Which list is asked about."""
    return "feed" if query.page is None else "similar"


def debug_json(
    recommender: BundleRecommender,
    row: int,
    item: bytes,
    n: int,
    standing: Standing | None,
    *,
    rules: Sequence[str],
    surface: str,
) -> bytes:
    """The debug page of an item, as JSON.

    Args:
        recommender: what answers.
        row: the item's row.
        item: the item as JSON.
        n: neighbors of each kind at most.
        standing: where it stands in the answer that was asked about; None for none.
        rules: names of the rules that hide, move or pin it there.
        surface: of that answer.
    """
    bundle = recommender.bundle
    near: dict[str, tuple[NDArray[np.int64], NDArray[np.float32] | NDArray[np.int64]]] = {
        "published": bundle.similar.of(row),
        "together": bundle.together(row),
    }
    nothing = np.zeros(len(bundle), dtype=np.bool_)
    nothing[[row, *bundle.removed.tolist()]] = True
    for part in ("image", "text", "behavior"):
        found = recommender.likeness.ranked(row, {part: 1.0}, nothing, n)
        near[part] = found.rows, found.score
    counts = bundle.attribute_counts
    values = [
        {"name": name, "value": value, "items": counts[name][value]}
        for name, of_name in bundle.display(row)["attributes"].items()
        for value in dict.fromkeys(of_name)
    ]
    why = None
    if standing is not None:
        why = {"surface": surface, **asdict(standing), "rules": rules, "below_by": standing.below_by}
    return orjson.dumps(
        {
            "item": orjson.Fragment(item),
            "neighbors": {kind: _named(recommender, *listed, n) for kind, listed in near.items()},
            "graph": {
                "trained": not isinstance(bundle, AmendedBundle) or row < bundle.n_trained,
                "users": int(bundle.popularity[row]),
                "values": sorted(values, key=lambda one: (one["items"], one["name"], one["value"])),
            },
            "why": why,
            "model_version": bundle.version,
        }
    )


def _named(
    recommender: BundleRecommender,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32] | NDArray[np.int64],
    n: int,
) -> list[dict[str, object]]:
    bundle = recommender.bundle
    kept = ~np.isin(rows, bundle.removed)
    rows, scores = rows[kept], scores[kept]
    return [
        {"item_id": bundle.items[row], "title": bundle.display(row)["title"] or "", "score": float(score)}
        for row, score in zip(rows[:n].tolist(), scores[:n].tolist(), strict=True)
    ]
