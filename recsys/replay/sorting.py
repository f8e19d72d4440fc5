"""Slots of a long table into logs: refused, joined, sorted by time and split, with some hundred thousand in memory.

The slots lie on disk in parts of whole requests, where what belongs to a request is settled; then in parts by time,
each sorted by itself and put behind the one before. So memory grows with the items and users there are, not with the
slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.progress import track
from features.quarantine import Quarantine
from recsys.replay.attribution import Earnings
from recsys.replay.hygiene import VISIT, HygieneConfig, bots, broken_lists, duplicates
from recsys.replay.slots import SlotReader
from recsys.replay.spill import Records, Spill

SAMPLED = 32
"""Every so many-th request tells where the parts by time begin."""


class Settled:
    """The slots of a table in parts by time, with everything refused that must be.

    Args:
        folder: for what is kept on disk.
        file: name of the table.
        slots: all of them, in parts by `SlotReader.keys`.
        reader: what was learned when they were read.
        earnings: what events earned; None where the slots hold their rewards.
        hygiene: who counts as a bot.
        quarantine: takes what is refused.
    """

    def __init__(
        self,
        folder: Path,
        file: str,
        slots: Spill,
        *,
        reader: SlotReader,
        earnings: Earnings | None,
        hygiene: HygieneConfig,
        quarantine: Quarantine,
    ) -> None:
        self._file, self._slots, self._reader, self._quarantine = file, slots, reader, quarantine
        self._items = reader.codes["item"].names
        visits = Spill(folder / "visits", VISIT, slots.n_parts)
        begins = [self._joined(number, earnings, visits) for number in track(range(slots.n_parts), "Joining slots")]
        sample = np.sort(np.concatenate(begins))
        cuts = sample[np.linspace(0, len(sample), slots.n_parts + 1)[1:-1].astype(np.int64)] if len(sample) else sample
        busy, eager = self._bots(visits, hygiene)
        by_time = Spill(folder / "by_time", slots.dtype, slots.n_parts)
        told = (
            (busy, f"the user has over {hygiene.bot_rows_an_hour} slots in an hour, like a program"),
            (eager, f"the user clicks {hygiene.bot_click_share:.0%} of everything, like a program"),
        )
        pairs = np.zeros(0, dtype=np.int64)
        for number in track(range(slots.n_parts), "Sorting slots"):
            records = slots.part(number)
            for users, rule in told:
                self._refuse(records, np.isin(records["user"], users) & (records["user"] >= 0), rule)
            if reader.has_request:
                self._refuse(records, broken_lists(records), "another slot of the same request was refused")
            records = records[records["kept"]]
            by_time.add(records, np.searchsorted(cuts, _key(records), side="right"))
            pairs = np.union1d(pairs, (records["campaign"] + 1).astype(np.int64) * len(self._items) + records["item"])
            slots.drop(number)
        self._by_time = by_time
        campaign, item = np.divmod(pairs, max(len(self._items), 1))
        self.items_of = {int(one) - 1: item[campaign == one] for one in np.unique(campaign)}
        """Items of each campaign, rising."""

    def sorted_parts(self) -> Iterator[Records]:
        """The parts in order of time, once: each sorted by request and position."""
        for number in range(self._by_time.n_parts):
            slots = self._by_time.part(number)
            self._by_time.drop(number)
            yield slots[np.lexsort((slots["position"], slots["first"], slots["begin"]))]

    def _joined(self, number: int, earnings: Earnings | None, visits: Spill) -> NDArray[np.complex128]:
        """Settle what belongs to the requests of a part; when some of them began."""
        slots, reader = self._slots.part(number), self._reader
        if earnings is not None:
            earnings.pay(slots, number)
        if reader.some_propensity:
            missing = np.isnan(slots["propensity"])
            self._refuse(slots, missing, "propensity is missing", [None] * len(slots))
        names = ["request", "position"] if reader.has_request else ["user", "time", "item", "position"]
        if reader.has_request or (reader.has_time and "user_id" in reader.found):
            self._refuse(slots, duplicates(slots, names), "the same slot is there twice")
        _, first, request = np.unique(slots["request"], return_index=True, return_inverse=True)
        begin = np.full(len(first), np.inf)
        np.minimum.at(begin, request, np.nan_to_num(slots["time"], nan=0.0))
        row = np.full(len(first), np.iinfo(np.int64).max)
        np.minimum.at(row, request, slots["row"])
        slots["begin"], slots["first"] = begin[request], row[request]
        self._slots.replace(number, slots)
        known = slots[slots["kept"] & (slots["user"] >= 0)]
        told = np.zeros(len(known), dtype=VISIT)
        told["user"], told["time"], told["clicked"] = known["user"], known["time"], known["reward"] > 0
        visits.add(told, known["user"] % visits.n_parts)
        return _key(slots[first][::SAMPLED])

    def _bots(self, visits: Spill, config: HygieneConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = [bots(visits.part(number), config) for number in range(visits.n_parts)]
        return np.concatenate([busy for busy, _ in found]), np.concatenate([eager for _, eager in found])

    def _refuse(self, slots: Records, bad: NDArray[np.bool_], rule: str, told: Sequence[object] | None = None) -> None:
        rows = np.flatnonzero(bad & slots["kept"])
        values = [self._items[slots["item"][row]] if told is None else told[row] for row in rows.tolist()]
        self._quarantine.refuse_all(self._file, slots["row"][rows].tolist(), rule, values)
        slots["kept"][rows] = False


def _key(slots: Records) -> NDArray[np.complex128]:
    """When a slot's request began and, for those of one moment, its first row: complex numbers sort by both."""
    found: NDArray[np.complex128] = slots["begin"] + 1j * slots["first"]
    return found
