from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bundle import Bundle
from recsys.replay.gate import hold_against, parse_gate


def write_log(folder: Path, *, likes_even: bool, explored: bool = True, n: int = 6000) -> Path:
    """Feeds of one slot to unknown visitors of the checkerboard world, who like even or odd items."""
    rng = np.random.default_rng(0)
    item = rng.integers(10, size=n) if explored else np.zeros(n, dtype=int)
    even = item % 2 == 0
    clicked = rng.random(n) < np.where(even == likes_even, 0.4, 0.1)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(n)],
            "item_id": [f"i{row}" for row in item],
            "position": 0,
            "click": clicked.astype(int),
            "propensity": 0.1 if explored else 1.0,
            "policy": "v1",
            "campaign": "feed",
        }
    )
    old = frame.head(50).assign(policy="v0", click=0, request_id=[f"o{row}" for row in range(50)])
    search = frame.head(50).assign(campaign="search", request_id=[f"s{row}" for row in range(50)])
    folder.mkdir()
    pd.concat([frame, old, search]).to_parquet(folder / "impressions.parquet")
    return folder


def shown_to_strangers(bundle: Bundle) -> bool:
    """Whether the bundle shows a stranger an even item."""
    from recsys.recommendation import UserState
    from recsys.recommender import BundleRecommender

    (first,) = BundleRecommender(bundle).recommend(UserState(), 1)
    return int(first.item_id[1:]) % 2 == 0


def test_a_bundle_that_replays_better_passes_and_a_worse_one_is_told_why(two_tastes: Bundle, tmp_path: Path) -> None:
    even = shown_to_strangers(two_tastes)
    quarantine = Quarantine()
    for name, likes_even, passes in (("good", even, True), ("bad", not even, False)):
        log = write_log(tmp_path / name, likes_even=likes_even)
        for said in ("replay(ctr) >= logged - 1%", "replay(ctr).low >= logged"):
            outcome = hold_against(parse_gate(said), two_tastes.path, log, quarantine=quarantine)
            assert outcome.passed is passes
            (line,) = outcome.said  # of the feed's larger log alone
            assert line.startswith("v1/feed: ")
            assert "of logged" in line


def test_what_cannot_be_judged_does_not_pass(two_tastes: Bundle, tmp_path: Path) -> None:
    even = shown_to_strangers(two_tastes)
    log = write_log(tmp_path / "log", likes_even=even, explored=False)
    frame = pd.read_parquet(log / "impressions.parquet")
    frame["item_id"] = "i9" if even else "i8"
    frame.to_parquet(log / "impressions.parquet")
    outcome = hold_against(parse_gate("replay(ctr) >= logged"), two_tastes.path, log, quarantine=Quarantine())
    assert not outcome.passed
    assert "cannot be estimated from this log" in outcome.said[0]
    assert "filled at random would do" in outcome.said[0]


def test_being_sure_asks_for_more_than_being_better(two_tastes: Bundle, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", likes_even=shown_to_strangers(two_tastes), n=3000)
    outcomes = [
        hold_against(parse_gate(said), two_tastes.path, log, quarantine=Quarantine()).passed
        for said in ("replay(ctr) >= logged + 50%", "replay(ctr).low >= logged + 50%", "replay(ctr) >= logged + 500%")
    ]
    assert outcomes == [True, False, False]


def test_a_condition_is_read_as_written_and_anything_else_is_refused() -> None:
    gate = parse_gate("replay(purchase).low >= popularity~0.1 - 2.5%")
    assert (gate.metric, gate.surely, gate.policy, gate.lift) == ("purchase", True, "popularity~0.1", -0.025)
    assert parse_gate("replay(ctr) >= logged").lift == 0
    for said in ("replay(ctr) > logged", "ctr >= logged", "replay(ctr) >= logged - 1", "__import__('os')", ""):
        with pytest.raises(InputError, match="--gate must look like"):
            parse_gate(said)


def test_a_log_of_searches_alone_is_no_traffic_to_judge_on(two_tastes: Bundle, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", likes_even=True)
    frame = pd.read_parquet(log / "impressions.parquet")
    frame[frame["campaign"] == "search"].to_parquet(log / "impressions.parquet")
    with pytest.raises(InputError, match="only searches"):
        hold_against(parse_gate("replay(ctr) >= logged"), two_tastes.path, log, quarantine=Quarantine())
