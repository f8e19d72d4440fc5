"""The store against plain dictionaries: whatever is published, said, done and forgotten, in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from recsys.bundle import Bundle
from recsys.recommender import BundleRecommender
from serving import versions
from serving.entries import blocks, entries_of
from serving.keys import Keys
from tests.serving.store_machine.users import Users
from tests.serving.store_machine.versions import Versions


class StoreMachine(Versions, Users):
    """All of it, in any order."""


def test_the_store_is_what_plain_dictionaries_would_be(
    redis_server: Any, make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "RETIRE_S", 0)  # what expires is gone at once
    bundles = [make_bundle(np.eye(4)[:n] * (n + turn), users=np.eye(4)[:2]) for n, turn in ((4, 0), (4, 1), (3, 0))]
    made = [
        dict(
            entry for block in blocks(bundle) for entry in entries_of(block, bundle, BundleRecommender(bundle), Keys())
        )
        for bundle in bundles
    ]
    kind = type(
        "Machine",
        (StoreMachine,),
        {"redis": redis_server, "models": bundles, "folder": tmp_path / "state", "made": made},
    )
    quick = settings(
        max_examples=18,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # what fails is short already, and to make it shorter takes minutes
        suppress_health_check=list(HealthCheck),
    )
    with ThreadPoolExecutor(1) as thread:  # a browser's event loop may hold this one
        thread.submit(run_state_machine_as_test, kind, settings=quick).result()
