"""A bundle as its catalog was at a moment of the past: prices, attributes and stock that held then, by the shop's own
dated rows, taken in as the service takes in an item that changes while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.tables import read_table
from features.shop.timestamps import utc_seconds
from features.vocabulary import Vocabulary
from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placed
from recsys.appeal.history import CounterHistory
from recsys.appeal.then import StandingThen
from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from recsys.rules.amended import facts_of, trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.model import RuleSet

UNDATED = ("title", "description", "image")
"""What goes into an item's vectors, which a bundle holds as they were when it was made."""


@dataclass(frozen=True, eq=False)
class ItemChanges:
    """What became of items when.

    Args:
        item_id: of each change, in order of time.
        fields: what an item has from then on: "available", "price", and attributes, each a list of values.
        timestamp: float64 [n] UTC s, rising.
    """

    item_id: tuple[str, ...]
    fields: tuple[Mapping[str, Any], ...]
    timestamp: NDArray[np.float64]

    def at_first(self) -> dict[str, dict[str, Any]]:
        """What is known before the first change of each: nothing; what becomes available was not."""
        found: dict[str, dict[str, Any]] = {}
        for item_id, fields in zip(self.item_id, self.fields, strict=True):
            known = found.setdefault(item_id, {})
            for name, value in fields.items():
                nothing: Any = {"available": not value, "price": None}.get(name, [])
                known.setdefault(name, nothing)
        return found


def read_changes(path: Path, items: Vocabulary, *, quarantine: Quarantine) -> ItemChanges:
    """Read dated changes of items: item_id, timestamp, and what holds from then on; an empty cell changes nothing.

    Columns are available (0 or 1), price, and any others: attributes, whose cells are texts or lists of texts.

    Args:
        path: the table.
        items: of the bundle; other items are refused.
        quarantine: takes what is refused.

    Raises:
        InputError: the table cannot be read, lacks a column, or dates what cannot be.
    """
    frame = read_table(path, quarantine=quarantine)
    there = ", ".join(map(str, frame.columns))
    for name in ("item_id", "timestamp"):
        if name not in frame.columns:
            raise InputError(f"{path.name} must have a column {name}; it has {there}")
    names = [str(name) for name in frame.columns if name not in ("item_id", "timestamp")]
    if not names or set(names) & set(UNDATED):
        raise InputError(
            f"{path.name} must have columns available, price or attributes, and none of {', '.join(UNDATED)}, which "
            f"the bundle's vectors are made of; it has {there}"
        )
    sieve = Sieve(path.name, frame, quarantine)
    timestamp = utc_seconds(frame["timestamp"], timezone="UTC")
    sieve.refuse(
        np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", frame["timestamp"]
    )
    codes, ids = cells.coded_ids(frame["item_id"])
    sieve.refuse(np.append(items.idxs(ids), -1)[codes] < 0, "item_id is not in the bundle", frame["item_id"])
    values: dict[str, list[Any]] = {}
    for name in names:
        said = cells.present(frame[name])
        if name in ("available", "price"):
            numbers, _ = cells.numbers(frame[name])
            allowed = np.isin(numbers, (0, 1)) if name == "available" else numbers >= 0
            rule = "available must be 0 or 1" if name == "available" else "price must be a number >= 0"
            sieve.refuse(said & ~allowed, rule, frame[name])
            values[name] = [(one == 1 if name == "available" else one) for one in numbers.tolist()]
        else:
            values[name] = [_values(cell) for cell in frame[name].tolist()]
        values[name] = [value if is_said else None for value, is_said in zip(values[name], said.tolist(), strict=True)]
    order = np.flatnonzero(sieve.kept)[np.argsort(timestamp[sieve.kept], kind="stable")].tolist()
    return ItemChanges(
        tuple(ids[codes[row]] for row in order),
        tuple({name: values[name][row] for name in names if values[name][row] is not None} for row in order),
        timestamp[order],
    )


def _values(cell: object) -> list[str]:
    if isinstance(cell, list | tuple | np.ndarray):
        return [str(one).strip() for one in cell if str(one).strip()]
    return [str(cell).strip()]


@dataclass(frozen=True, eq=False)
class Now:
    """What answers at a moment: the bundle as it was, its recommender, and the rules over its catalog."""

    bundle: Bundle
    recommender: BundleRecommender
    rules: RuleBook | None


class CatalogThen:
    """A bundle through time.

    Args:
        bundle: as it was made; what no change speaks of is as it says.
        changes: of its items; None for none.
        rules: what the shop wants of its answers; None for nothing.
        counters: how items did where they were shown; None for what the bundle says.
    """

    def __init__(
        self,
        bundle: Bundle,
        changes: ItemChanges | None = None,
        rules: RuleSet | None = None,
        counters: CounterHistory | None = None,
    ) -> None:
        self._trained, self._changes, self._rules = bundle, changes, rules
        self._facts = None if rules is None else trained_facts(bundle)
        self._recommender = BundleRecommender(bundle)
        self._amendments = Amendments(bundle, None)
        self._displays: dict[str, dict[str, Any]] = {}
        self._done = 0
        self._moment = -np.inf
        self._now = Now(
            bundle, self._recommender, None if rules is None or self._facts is None else RuleBook(rules, self._facts)
        )
        self._counted = None if counters is None else StandingThen(bundle.standing, bundle.items, counters)
        if changes is not None:
            self._take(changes.at_first())

    def at(self, moment: float) -> Now:
        """What answers at a moment; moments are asked for in rising order.

        Raises:
            ValueError: the moment lies before the last one asked for.
        """
        if moment < self._moment:
            raise ValueError(f"moments must rise, {moment} comes after {self._moment}")
        self._moment = moment
        if self._changes is not None:
            until = int(np.searchsorted(self._changes.timestamp, moment, side="right"))
            changed: dict[str, dict[str, Any]] = {}
            for row in range(self._done, until):
                changed.setdefault(self._changes.item_id[row], {}).update(self._changes.fields[row])
            self._done = until
            if changed:
                self._take(changed)
        counted = self._counted
        self._now.recommender.standing = self._now.bundle.standing if counted is None else counted(moment)
        return self._now

    def _take(self, changed: Mapping[str, Mapping[str, Any]]) -> None:
        placed = {}
        for item_id, fields in changed.items():
            before = self._displays.get(item_id) or dict(self._trained.display(self._trained.items.idx(item_id)))
            plain = {name: value for name, value in fields.items() if name in ("available", "price")}
            attributes = before["attributes"] | {name: value for name, value in fields.items() if name not in plain}
            self._displays[item_id] = before | plain | {"attributes": attributes}
            placed[item_id] = Placed(self._displays[item_id], {})
        bundle, _, spaces = self._amendments.apply(placed)
        if self._counted is not None:  # when an item came may have changed, what was counted of it has not
            self._counted = self._counted.over(bundle.standing)
        rules = None
        if self._rules is not None and self._facts is not None:
            rules = RuleBook(self._rules, facts_of(bundle, self._facts))
        self._now = Now(bundle, self._recommender.amended(bundle, spaces), rules)
