"""What the service takes in reads back from its log as it was sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.quarantine import Quarantine
from features.shop.shop import read_shop
from serving.events import Event, accept
from serving.nearline.archive import Archive, merge
from serving.nearline.rows import event_rows

NOW = 1.7e9
WORDS = st.one_of(
    st.sampled_from(
        ["view", "Purchase", " view", "cart ", "BESIDE:view", "fact:brand", "nan", "null", "12.0", "İ", "ß"]
    ),
    st.text(max_size=12),
)
TIMES = st.one_of(st.none(), st.floats(0, 2 * NOW), st.sampled_from([0.0, 631_151_999.0, 631_152_000.0, 2 * NOW]))
RAW = st.fixed_dictionaries(
    {"user_id": WORDS, "item_id": st.sampled_from(["i1", "i2"]), "event_type": WORDS, "timestamp": TIMES}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RAW, min_size=1, max_size=30))
def test_every_event_that_is_taken_reads_back_as_it_was_sent(sent: list[dict[str, Any]]) -> None:
    judged = [accept(raw, index, known_item=True, now=NOW) for index, raw in enumerate(sent)]
    taken = [one for one in judged if isinstance(one, Event)]
    if not taken:
        return
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder)
        entries = [
            (f"{number}-0", {name: value.encode() for name, value in event.fields().items()})
            for number, event in enumerate(taken, 1)
        ]
        Archive(shop / "events", event_rows).write(entries, again=False)
        merge(shop / "events", shop / "interactions.parquet", kind="events")
        (shop / "items.jsonl").write_bytes(b"\n".join(orjson.dumps({"item_id": f"i{n}", "title": "x"}) for n in (1, 2)))
        refused = Quarantine()
        read = read_shop(shop, quarantine=refused).interactions
    assert refused.total == 0
    assert [
        (read.users[user], read.items[item], kind, at)
        for user, item, kind, at in zip(read.user_idx, read.item_idx, read.event_type, read.timestamp, strict=True)
    ] == [(one.user_id, one.item_id, one.event_type, one.timestamp) for one in taken]
