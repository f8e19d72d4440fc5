"""How a ranked list lies in Redis: one compact binary string.

Layout, little-endian: a header (format u1, slots u2, strings u2); per slot (item_idx u4, score f4, source u1, reasons
u1) = 10 bytes; the reasons of all slots in turn as u2 numbers into the strings; the different reason strings as a JSON
list. A source is its place in `SOURCES`. Items are row numbers of the bundle the version was published from,
so a list only means something beside that bundle.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.recommendation import SOURCES, Source

FORMAT = 1
SLOT = np.dtype([("item_idx", "<u4"), ("score", "<f4"), ("source", "u1"), ("n_reasons", "u1")])
HEADER = struct.Struct("<BHH")
LIST_LENGTH = 50
"""Slots of a published list, where the catalog has so many; who asks for more is answered from the bundle."""
MAX_SLOTS = 1000
MAX_REASONS = 255


class Slot(NamedTuple):
    """One place of a ranked list: the item by its row in the bundle."""

    item_idx: int
    score: float
    source: Source
    reasons: tuple[str, ...]


def pack(slots: Sequence[Slot]) -> bytes:
    """A ranked list as bytes.

    Raises:
        ValueError: more than 1,000 slots, more than 255 reasons in a slot, or an unknown source.
    """
    for place, slot in enumerate(slots):
        if slot.source not in SOURCES:
            raise ValueError(f"source must be one of {SOURCES}, slot {place} has {slot.source!r}")
    return pack_columns(
        np.array([slot.item_idx for slot in slots], dtype=np.int64),
        np.array([slot.score for slot in slots], dtype=np.float32),
        np.array([SOURCES.index(slot.source) for slot in slots], dtype=np.int8),
        [slot.reasons for slot in slots],
    )


def pack_columns(
    rows: NDArray[np.int64], score: NDArray[np.float32], source: NDArray[np.integer], reasons: Sequence[tuple[str, ...]]
) -> bytes:
    """A ranked list as bytes.

    Args:
        rows: int64 [n]; rows of the items.
        score: float32 [n].
        source: [n]; places in `SOURCES`.
        reasons: of each slot.

    Raises:
        ValueError: more than 1,000 slots, or more than 255 reasons in a slot.
    """
    if len(rows) > MAX_SLOTS:
        raise ValueError(f"a published list has at most {MAX_SLOTS} slots, this one has {len(rows)}")
    n_reasons = [len(why) for why in reasons]
    if max(n_reasons, default=0) > MAX_REASONS:
        place = next(place for place, n in enumerate(n_reasons) if n > MAX_REASONS)
        raise ValueError(f"a slot has at most {MAX_REASONS} reasons, slot {place} has {n_reasons[place]}")
    packed = np.zeros(len(rows), dtype=SLOT)
    for name, column in (("item_idx", rows), ("score", score), ("source", source), ("n_reasons", n_reasons)):
        packed[name] = column
    strings: dict[str, int] = {}
    codes = [strings.setdefault(reason, len(strings)) for why in reasons for reason in why]
    head = HEADER.pack(FORMAT, len(rows), len(strings))
    return head + packed.tobytes() + np.array(codes, dtype="<u2").tobytes() + orjson.dumps(list(strings))


def unpack(packed: bytes, k: int = MAX_SLOTS) -> list[Slot]:
    """The first k slots of the ranked list of `pack`.

    Raises:
        ValueError: the bytes are no packed list of a known format.
    """
    if len(packed) < HEADER.size:
        raise ValueError(f"a packed list has at least {HEADER.size} bytes, got {len(packed)}")
    form, n_slots, n_strings = HEADER.unpack_from(packed)
    if form != FORMAT:
        raise ValueError(f"a packed list must have format {FORMAT}, got {form}")
    end = HEADER.size + n_slots * SLOT.itemsize
    if len(packed) < end:
        raise ValueError(f"a packed list of {n_slots} slots has at least {end} bytes, got {len(packed)}")
    rows: NDArray[np.void] = np.frombuffer(packed, dtype=SLOT, count=n_slots, offset=HEADER.size)
    n_reasons = rows["n_reasons"].tolist()
    codes = np.frombuffer(packed, dtype="<u2", count=sum(n_reasons), offset=end).tolist()
    strings = orjson.loads(packed[end + 2 * len(codes) :])
    if len(strings) != n_strings:
        raise ValueError(f"a packed list names {n_strings} reasons and holds {len(strings)}")
    slots = []
    taken = 0
    columns = (rows[name][:k].tolist() for name in ("item_idx", "score", "source"))
    for item_idx, score, source, n in zip(*columns, n_reasons[:k], strict=True):
        reasons = tuple(strings[code] for code in codes[taken : taken + n])
        taken += n
        slots.append(Slot(item_idx, score, SOURCES[source], reasons))
    return slots
