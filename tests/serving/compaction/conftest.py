"""Few and small parts become one, so that a test sees all rounds."""

from __future__ import annotations

import pytest

from serving.nearline import compaction


@pytest.fixture
def by_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    monkeypatch.setattr(compaction, "FULL_ROWS", 40)
    monkeypatch.setattr(compaction, "LOOK_S", 0.0)
