"""A worker looks through all it holds when little is asked of it, and in the end at any moment."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import garbage, tenants
from serving.access.keyring import new_key, write_keys
from serving.garbage import LATEST_S, LEAST_S, look_for_garbage
from serving.tenants import create_service_from_environment


@pytest.mark.parametrize(("busy", "after_s"), [(0.05, LEAST_S), (0.5, LATEST_S)])
def test_garbage_is_looked_for_at_a_quiet_moment_after_a_minute_or_after_an_hour(
    busy: float, after_s: float, monkeypatch: pytest.MonkeyPatch, run_apart: Any
) -> None:
    now_s, looks = 0.0, list[float]()

    def look() -> int:
        looks.append(now_s)
        return 0

    async def second(closing: asyncio.Event, _: float) -> bool:
        nonlocal now_s
        now_s += 1
        return now_s > 2.5 * after_s

    monkeypatch.setattr(garbage, "passed", second)
    monkeypatch.setattr(garbage.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(garbage.time, "process_time", lambda: busy * now_s)
    monkeypatch.setattr(gc, "collect", look)

    async def run() -> None:
        await look_for_garbage(asyncio.Event())

    run_apart(run())
    assert looks == [after_s + 1, 2 * after_s + 2]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker's process settles for itself is as before after the test."""
    monkeypatch.setattr(tenants, "configure_logging", lambda: None)  # loggers remember it for good
    pause_s, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(pause_s)
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.parametrize("shops", [1, 2])
@pytest.mark.usefixtures("settled")
def test_a_process_is_looked_through_once_however_many_shops_it_serves(
    shops: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_apart: Any
) -> None:
    file = tmp_path / "tenants.toml"
    file.write_text('[acme]\nkeys = "acme.json"\n[bolt]\nkeys = "bolt.json"\n')
    for name in ("acme", "bolt"):
        write_keys(tmp_path / f"{name}.json", [new_key("owner", ["read"])[1]])
    monkeypatch.setenv("RECSYS_STATE_DIR", str(tmp_path / "state"))
    if shops > 1:
        monkeypatch.setenv("RECSYS_TENANTS", str(file))

    async def story() -> tuple[int, int]:
        told, said = asyncio.Queue[dict[str, str]](), asyncio.Queue[Any]()
        service = create_service_from_environment()
        serving = asyncio.create_task(service({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, said.put))
        await told.put({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        await asyncio.sleep(0)
        during = looking()
        await told.put({"type": "lifespan.shutdown"})
        await serving
        return during, looking()

    assert run_apart(story()) == (1, 0)


def looking() -> int:
    """How many look for garbage in this event loop."""
    return sum(task.get_coro().__name__ == look_for_garbage.__name__ for task in asyncio.all_tasks())
