"""The columns of a catalog that goes on changing: those of its bundle, with what was said of its items since."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from features.pace import gently
from recsys.amended.bundle import AmendedBundle
from recsys.bundle import Bundle
from recsys.rules.facts import Facts

_NOTHING: Mapping[str, Any] = {"available": False}


def trained_facts(bundle: Bundle, *, texts: bool = True) -> Facts:
    """The columns of a bundle as it was made: stored ones, or with texts from each item's display data, 10 us each."""
    base = bundle.trained if isinstance(bundle, AmendedBundle) else bundle
    if not texts and base.columns is not None:
        return base.columns.facts(base.items)
    return Facts(base.items, map(base.display, gently(range(len(base)))), texts=texts)


def facts_of(bundle: Bundle, trained: Facts) -> Facts:
    """The columns of a bundle as it is now; the cost grows with what has changed, not with the catalog.

    Args:
        bundle: amended or not.
        trained: of the same bundle as it was made.
    """
    if not isinstance(bundle, AmendedBundle):
        return trained
    facts = copy.copy(trained)
    n_new = len(bundle) - len(trained)
    facts.items = bundle.items
    facts.price = np.append(trained.price, np.full(n_new, np.nan))
    facts.available = np.append(trained.available, np.zeros(n_new, dtype=np.bool_))
    if trained.has_texts:
        facts.title = [*trained.title, *[""] * n_new]
        facts.description = [*trained.description, *[""] * n_new]
    joined: dict[str, dict[str, list[int]]] = {}
    left: dict[str, dict[str, list[int]]] = {}
    for row in sorted({*bundle.shown, *bundle.gone}):
        now = _NOTHING if row in bundle.gone else bundle.display(row)
        facts.write(row, now)
        before = orjson.loads(Bundle.display_json(bundle, row)) if row < len(trained) else _NOTHING
        had, has = _values(before), _values(now)
        for changes, values in ((left, had - has), (joined, has - had)):
            for name, value in sorted(values):
                changes.setdefault(name, {}).setdefault(value, []).append(row)
    return facts.with_values(left, joined)


def _values(shown: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Attributes with their values, folded as rules compare them."""
    attributes = shown.get("attributes") or {}
    return {(name.casefold(), value.casefold()) for name, values in attributes.items() for value in values}
