"""What tests of replayed bundles share: when the visits of the fixture `visits` were, and what was shown in them."""

from __future__ import annotations

from pathlib import Path

from features.quarantine import Quarantine
from recsys.replay.history import UserHistory, read_history
from recsys.replay.policy import ListPolicy

DAY = 86_400.0
T0 = 1_700_000_000.0


def history(folder: Path, rows: str) -> UserHistory:
    (folder / "events.csv").write_text("user_id,item_id,timestamp\n" + rows)
    return read_history(folder / "events.csv", quarantine=Quarantine())


def shown(policy: object) -> list[list[int]]:
    assert isinstance(policy, ListPolicy)
    return policy.items.reshape(-1, 2).tolist()
