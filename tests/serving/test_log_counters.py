"""`recsys log counters`: from what the service logged to what a ranker learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from recsys.appeal.files import read_counters
from serving.commands.log import app


def logged(folder: Path, n: int = 400) -> Path:
    """Lists of two, always in one order; the second slot is looked at half as often; a click comes 10 s later."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    slots, events = [], []
    for request in range(n):
        at = 1.6e9 + 600 * request
        shown = [f"i{item}" for item in rng.permutation(3)[:2]]
        for position, item in enumerate(shown):
            slots.append(
                {"entry_id": f"{request}-0", "request_id": f"r{request}", "user_id": f"u{request}", "timestamp": at,
                 "policy": "m", "campaign": "feed", "source": "popular", "position": position, "item_id": item,
                 "scenario": "home", "propensity": 1.0, "marginal": 1.0}
            )  # fmt: skip
            if rng.random() < (0.6, 0.3)[position]:
                events.append(
                    {"event_id": f"e{request}{item}", "user_id": f"u{request}", "item_id": item, "event_type": "click",
                     "timestamp": at + 10, "recommendation_id": f"r{request}"}
                )  # fmt: skip
    pd.DataFrame(slots).to_parquet(folder / "impressions.parquet")
    pd.DataFrame(events).to_parquet(folder / "events.parquet")
    return folder


def test_clicks_are_joined_and_what_is_too_young_to_be_judged_is_left_out(tmp_path: Path) -> None:
    log = logged(tmp_path / "log")
    asked = CliRunner().invoke(app, ["counters", str(log), "--out", str(tmp_path / "out"), "--window", "3600"])
    assert asked.exit_code == 0, asked.output
    assert "no slot was drawn: it is supposed" in asked.output
    history = read_counters(tmp_path / "out")
    slots = pd.read_parquet(log / "impressions.parquet")
    events = pd.read_parquet(log / "events.parquet")
    until = slots["timestamp"].max() - 3600
    joined = events.merge(slots, left_on=["recommendation_id", "item_id"], right_on=["request_id", "item_id"])
    clicks = np.bincount(joined["position"][joined["timestamp_y"] <= until])
    curve = history.examination(history.end_s).curves["feed"]
    assert curve[1] == pytest.approx(clicks[1] / clicks[0], rel=0.1)
    assert history.until_s == until
    assert history.clicks.sum() == (events["timestamp"] - 10 <= until).sum()
    assert history.scenarios == ("", "home")
    assert "counted by themselves: home" in asked.output
    assert (history.known_s == history.shown_s + 3600).all()


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    asked = CliRunner().invoke(app, ["counters", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(asked.exception, InputError)
    assert "must hold impressions.parquet" in str(asked.exception)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="it has no counters"):
        read_counters(tmp_path / "out")
