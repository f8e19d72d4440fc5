"""From a log of shown slots to counters: first how places are looked at, then what each item did there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat

from features.errors import InputError
from features.section import Section
from features.vocabulary import Vocabulary
from recsys.appeal.examination import Examination, fit_examination
from recsys.appeal.history import CounterHistory
from recsys.replay.log import Log, Rows

MOST_WEIGHT = 100.0
"""A slot that was drawn with a smaller probability than one in so many weighs no more."""


class CountingConfig(Section):
    """How a log is counted."""

    half_life_s: PositiveFloat = 14 * 86_400.0
    """Counts are worth half after so long."""
    bucket_s: PositiveFloat = 86_400.0
    """What was shown within so long is kept as one row an item."""


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
    surfaces = sorted({_surface(log) for log in logs})
    examination, drawn = _examination(logs, items, surfaces, until)
    if not examination.curves:
        raise InputError(f"no slot of {', '.join(log.name for log in logs)} was clicked: there is nothing to count")
    n_buckets = np.int64(2**40)
    found = _Sums()
    for log in logs:
        looks, rows_of = examination.table(_surface(log), int(log.position.max()) + 1), items.idxs(log.items.ids)
        for rows in log.chunks():
            told = rows.timestamp <= until
            bucket = np.ceil(rows.timestamp[told] / config.bucket_s).astype(np.int64)
            key = rows_of[rows.item_idx[told]] * n_buckets + bucket
            found.add(key, looks[rows.position[told]], (rows.reward[told] > 0).astype(np.float64))
    key, shown, clicks = found.taken()
    item, bucket = np.divmod(key, n_buckets)
    ends = np.minimum(bucket * config.bucket_s, until)
    return CounterHistory(
        items, item, ends, ends + window_s, clicks, shown, examination, drawn, config.half_life_s, window_s, until
    )


def _examination(
    logs: Sequence[Log], items: Vocabulary, surfaces: Sequence[str], until: float
) -> tuple[Examination, float]:
    """The curves, and the share of slots that were drawn."""
    n_positions = np.int64(max(int(log.position.max()) for log in logs) + 1)
    n_places = n_positions * len(surfaces)
    found, drawn, total = _Sums(), 0, 0
    for log in logs:
        surface, rows_of = surfaces.index(_surface(log)), items.idxs(log.items.ids)
        for rows in log.chunks():
            weight = _weights(log, rows)
            told = (rows.timestamp <= until) & np.isfinite(weight)
            key = rows_of[rows.item_idx] * n_places + surface * n_positions + rows.position
            found.add(key[told], weight[told], weight[told] * (rows.reward[told] > 0))
            drawn, total = drawn + int((weight[told] > 1).sum()), total + int(told.sum())
    key, shown, clicks = found.taken()
    item, place = np.divmod(key, n_places)
    return fit_examination(surfaces, item, divmod(place, n_positions), shown, clicks), drawn / max(1, total)


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
    """Two sums by key, with no more memory than there are keys."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []

    def add(self, key: NDArray[np.int64], one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        self._parts.append(_summed(key, one, other))
        if len(self._parts) > 1 and sum(len(part[0]) for part in self._parts[1:]) > len(self._parts[0][0]):
            self._parts = [self.taken()]

    def taken(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        key, one, other = (np.concatenate([part[column] for part in self._parts]) for column in range(3))
        return _summed(key, one, other)


def _summed(
    key: NDArray[np.int64], one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    different, place = np.unique(key, return_inverse=True)
    n = len(different)
    sums = [np.bincount(place, values, n).astype(np.float64) for values in (one, other)]
    return different, sums[0], sums[1]
