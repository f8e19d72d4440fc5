"""Items as answers show them: kept where they are asked for again, whichever way, and made anew where they changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from serving.display import item_json
from serving.live import Live
from serving.settings import Settings
from serving.shown_items import ShownItems
from serving.store import Store
from serving.telemetry import Telemetry


def test_what_is_kept_is_a_hit_by_either_way_and_what_has_changed_is_neither_hit_nor_miss(
    small_bundle: Path, run_apart: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    live, telemetry = Live.open(small_bundle), Telemetry()
    shown = ShownItems(Store(None, Settings(), telemetry), telemetry, cap=1_000_000)
    said = [item_json(live.bundle, row) for row in (4, 9)]

    def counted() -> tuple[float, float]:
        return tuple(telemetry.cache.labels("items", outcome)._value.get() for outcome in ("hit", "miss"))  # type: ignore[return-value]

    assert run_apart(shown.published(live, [4, 9])) == (said, False)  # there is no Redis: from the bundle, not kept
    assert counted() == (0, 2)
    assert shown.own(live, [4, 9]) == said
    assert counted() == (0, 4)
    assert shown.own(live, [9, 4]) == said[::-1]
    assert run_apart(shown.published(live, [4, 9])) == (said, True)
    assert counted() == (4, 4)
    changed = SimpleNamespace(bundle=live.bundle, version=live.version, changes=SimpleNamespace(shown={9: b""}))
    assert shown.own(cast(Any, changed), [4, 9]) == said
    assert run_apart(shown.published(cast(Any, changed), [9])) == (said[1:], True)
    assert counted() == (5, 4)
