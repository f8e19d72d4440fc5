from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.codec import SOURCES, Slot, pack, unpack

slots = st.builds(
    Slot,
    item_idx=st.integers(0, 2**32 - 1),
    score=st.floats(width=32, allow_nan=False),
    source=st.sampled_from(SOURCES),
    reasons=st.lists(st.text(max_size=20), max_size=4).map(tuple),
)


def test_a_packed_list_is_the_documented_bytes() -> None:
    packed = pack([Slot(7, 0.5, "content", ("reads alike",)), Slot(3, 0.25, "popular", ("reads alike", "liked"))])
    expected = (
        struct.pack("<BHH", 1, 2, 2)
        + struct.pack("<IfBB", 7, 0.5, 2, 1)
        + struct.pack("<IfBB", 3, 0.25, 4, 2)
        + struct.pack("<HHH", 0, 0, 1)
        + b'["reads alike","liked"]'
    )
    assert packed == expected


@given(st.lists(slots, max_size=30))
def test_a_packed_list_reads_back_as_it_was(given_slots: list[Slot]) -> None:
    assert unpack(pack(given_slots)) == given_slots


@pytest.mark.parametrize(
    ("packed", "rule"),
    [
        (b"", "at least 5 bytes"),
        (b"\x02\x00\x00\x00\x00[]", "must have format 1, got 2"),
        (struct.pack("<BHH", 1, 4, 0) + b"short", "a packed list of 4 slots has at least 45 bytes"),
        (struct.pack("<BHH", 1, 0, 3) + b'["one"]', "names 3 reasons and holds 1"),
    ],
)
def test_bytes_that_are_no_packed_list_are_refused_by_rule(packed: bytes, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        unpack(packed)


def test_a_tier_that_is_not_on_the_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match="slot 0 has 'guessed'"):
        pack([Slot(1, 1.0, "guessed", ())])  # type: ignore[arg-type]
