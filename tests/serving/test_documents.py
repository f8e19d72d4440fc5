"""Versions of a document in Redis: as many as are kept, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from serving.documents import Documents
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry


def test_of_many_versions_the_newest_are_kept(
    redis_server: Any, run_apart: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.documents.KEPT", 3)

    async def told() -> tuple[list[int], list[bytes | None]]:
        store = Store(redis_server.url, Settings(), Telemetry())
        try:
            documents = Documents(store, "rs:rules")
            for number in range(1, 6):
                assert await documents.put(b"%d" % number) == number
            texts = [await documents.get(number) for number in range(1, 6)]
            return [about.version for about in await documents.history()], texts
        finally:
            await store.close()

    assert run_apart(told()) == ([5, 4, 3], [None, None, b"3", b"4", b"5"])
