"""Ids are read in blocks and given once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from serving.ids import BLOCK, new_id


def test_ids_are_32_hex_digits_and_different_over_several_blocks_and_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        every = list(threads.map(lambda _: new_id(), range(5 * BLOCK + 3)))
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in every)
    assert len(set(every)) == len(every)
