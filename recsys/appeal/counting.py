"""From a log of shown slots to counters: what each item did in each scenario and slot, day by day."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveFloat

from features.errors import InputError
from features.section import Section
from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.replay.log import Log, Rows

MOST_WEIGHT = 100.0
"""A slot that was drawn with a smaller probability than one in so many weighs no more."""


class CountingConfig(Section):
    """How a log is counted."""

    half_life_s: PositiveFloat = 14 * 86_400.0
    """Counts are worth half after so long."""
    bucket_s: PositiveFloat = 86_400.0
    """What was shown within so long is kept as one row an item, scenario and slot."""
    scenarios: NonNegativeInt = 20
    """So many scenarios at most are counted by themselves, those with the most slots."""


def count_logs(logs: Sequence[Log], config: CountingConfig, *, window_s: float) -> CounterHistory:
    """Counters of everything the logs showed.

    Args:
        logs: of any behavior policies; what stands behind the last "/" of a name is the surface.
        config: how they are counted.
        window_s: clicks were counted so long after their slot; what was shown later than that before the end of the
            logs is left out, as its clicks are not all known.

    Raises:
        InputError: a log has no times, or none of them a click.
    """
    for log in logs:
        if not np.isfinite(log.timestamp).all():
            raise InputError(f"log {log.name} must have timestamps, so that counters can be told as of a moment")
    until = max(float(log.timestamp.max()) for log in logs) - window_s
    items = Vocabulary(tuple(dict.fromkeys(item for log in logs for item in log.items)))
    surfaces = tuple(sorted({_surface(log) for log in logs}))
    scenarios = ("", *_most_shown(logs, until, config.scenarios))
    first = math.floor(min(float(log.timestamp.min()) for log in logs) / config.bucket_s)
    n_positions = max(int(log.position.max()) for log in logs) + 1
    n_buckets = max(math.ceil(until / config.bucket_s) - first, 0) + 1
    shape = (len(items), len(scenarios), len(surfaces), n_positions, n_buckets)
    found, drawn = _Sums(), 0
    for log in logs:
        surface, rows_of, place_of = surfaces.index(_surface(log)), items.idxs(log.items.ids), _places(log, scenarios)
        for rows in log.chunks():
            told = rows.timestamp <= until
            weight = _weights(log, rows)[told]
            clicked = (rows.reward[told] > 0).astype(np.float64)
            bucket = np.ceil(rows.timestamp[told] / config.bucket_s).astype(np.int64) - first
            scenario = np.zeros(len(rows), dtype=np.int64) if log.scenario is None else place_of[_codes(log, rows)]
            where = (rows_of[rows.item_idx[told]], scenario[told], surface, rows.position[told], bucket)
            fair = np.nan_to_num(weight)
            found.add(np.ravel_multi_index(where, shape), np.stack([np.ones(len(fair)), clicked, fair, fair * clicked]))
            drawn += int((fair > 1).sum())
    key, (shown, clicks, fair_shown, fair_clicks) = found.taken()
    if not clicks.any():
        raise InputError(f"no slot of {', '.join(log.name for log in logs)} was clicked: there is nothing to count")
    item, scenario, surface_idx, position, bucket = np.unravel_index(key, shape)
    ends = np.minimum((bucket + first) * config.bucket_s, until)
    return CounterHistory(
        items=items,
        scenarios=scenarios,
        surfaces=surfaces,
        item_idx=item,
        scenario_idx=scenario,
        surface_idx=surface_idx,
        position=position,
        shown_s=ends,
        known_s=ends + window_s,
        shown=shown,
        clicks=clicks,
        fair_shown=fair_shown,
        fair_clicks=fair_clicks,
        randomized=drawn / max(1.0, float(shown.sum())),
        half_life_s=config.half_life_s,
        window_s=window_s,
        until_s=until,
    )


def _most_shown(logs: Sequence[Log], until: float, most: int) -> list[str]:
    """The scenarios with the most slots, by name."""
    slots: Counter[str] = Counter()
    for log in logs:
        if log.scenario is None:
            continue
        names = log.scenario[0]
        for rows in log.chunks():
            codes = _codes(log, rows)[rows.timestamp <= until]
            for code, n in enumerate(np.bincount(codes[codes >= 0], minlength=len(names)).tolist()):
                slots[names[code]] += n
    ranked = sorted(slots.items(), key=lambda pair: (-pair[1], pair[0]))
    return sorted(name for name, n in ranked[:most] if n and name)


def _places(log: Log, scenarios: Sequence[str]) -> NDArray[np.int64]:
    """Where each scenario of a log is among those that are counted, 0 for the others; the last is of a slot of none."""
    names = () if log.scenario is None else log.scenario[0]
    return np.array([*(scenarios.index(name) if name in scenarios else 0 for name in names), 0], dtype=np.int64)


def _codes(log: Log, rows: Rows) -> NDArray[np.int64]:
    assert log.scenario is not None  # noqa: S101 - who asks has looked
    return log.scenario[1][rows.within].astype(np.int64)


def _weights(log: Log, rows: Rows) -> NDArray[np.float64]:
    """One over the probability with which each slot's item stood there; 1 where nobody logged it, NaN where that is
    not known of a slot that was drawn.
    """
    if log.estimated:
        return np.ones(len(rows))
    chance = rows.propensity
    if log.given_above and log.marginal is not None:
        chance = log.marginal[rows.within]
    elif log.given_above:
        chance = np.where(rows.propensity < 1, np.nan, 1.0)
    return np.minimum(1 / chance, MOST_WEIGHT)


def _surface(log: Log) -> str:
    return log.name.rpartition("/")[2]


class _Sums:
    """Some sums by key, with no more memory than there are keys."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []

    def add(self, key: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add float64 [n_sums, n]."""
        self._parts.append(_summed(key, values))
        if len(self._parts) > 1 and sum(len(key) for key, _ in self._parts[1:]) > len(self._parts[0][0]):
            self._parts = [self.taken()]

    def taken(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The keys, rising, and the sums, float64 [n_sums, n]."""
        keys, values = zip(*self._parts, strict=True)
        return _summed(np.concatenate(keys), np.concatenate(values, axis=1))


def _summed(key: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    different, place = np.unique(key, return_inverse=True)
    return different, np.stack([np.bincount(place, of, len(different)) for of in values])
