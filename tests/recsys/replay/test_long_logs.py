"""Logs longer than what is in memory at once: the same log, and hardly more memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.quarantine import Quarantine
from features.shop import batches
from recsys.replay import reading
from recsys.replay.attribution import AttributionRules
from recsys.replay.form import LogFormat
from recsys.replay.log import Log
from recsys.replay.reading import read_logs
from recsys.replay.spill import SeenHashes

DAY = 86_400.0
T0 = 1_700_000_000.0


def tangled(folder: Path, *, n_requests: int = 700) -> LogFormat:
    """Rows in no order: two policies and campaigns, lists of different length, slots there twice, holes, and events."""
    rng = np.random.default_rng(5)
    length = rng.integers(1, 4, n_requests)
    request = np.repeat(np.arange(n_requests), length)
    frame = pd.DataFrame(
        {
            "request_id": [f"r{number}" for number in request],
            "user_id": [f"u{number % 40}" if number % 3 else "" for number in request],
            "item_id": [f"i{item}" for item in rng.integers(0, 30, len(request))],
            "position": np.concatenate([np.arange(1, n + 1) for n in length]),
            "propensity": rng.uniform(0.1, 1, len(request)).round(6),
            "policy": np.where(request % 2, "p", "q"),
            "campaign": np.where(request % 5, "m", "w"),
            "timestamp": T0 + DAY * rng.integers(0, 9, n_requests)[request],
            "device": np.where(request % 7, "phone", "desk"),
            "euro": rng.random(len(request)).round(6),
        }
    )
    frame = pd.concat([frame, frame.iloc[::50]])  # slots that are there twice
    frame["propensity"] = np.where(np.arange(len(frame)) % 97, frame["propensity"], 7.0)
    frame = frame.sample(frac=1, random_state=1)
    frame.to_csv(folder / "impressions.csv", index=False)
    clicks = frame.sample(frac=0.2, random_state=2)
    events = pd.DataFrame(
        {
            "recommendation_id": np.where(np.arange(len(clicks)) % 4, clicks["request_id"], ""),
            "user_id": clicks["user_id"],
            "item_id": clicks["item_id"],
            "event_type": "click",
            "timestamp": clicks["timestamp"] + rng.uniform(-60, 7200, len(clicks)).round(),
            "event_id": [f"e{number - (number % 10 == 1)}" for number in range(len(clicks))],
        }
    )
    events.to_csv(folder / "events.csv", index=False)
    rules = AttributionRules(window_s=3600.0, value="count", last_touch=True)
    return LogFormat(segments=("device",), also=("euro",), events=folder / "events.csv", attribution=rules)


def read(folder: Path, form: LogFormat) -> tuple[dict[str, Log], Quarantine]:
    quarantine = Quarantine()
    return {log.name: log for log in read_logs(folder, form, quarantine=quarantine)}, quarantine


def test_a_log_read_in_many_parts_is_the_log_read_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = tangled(tmp_path)
    whole, refused = read(tmp_path, form)
    monkeypatch.setattr(reading, "PART_ROWS", 100)
    monkeypatch.setattr(batches, "CSV_BYTES", 5_000)
    parted, refused_in_parts = read(tmp_path, form)
    assert refused_in_parts.counts == refused.counts
    assert set(refused.counts) == {
        "propensity must be in (0, 1]",
        "the same slot is there twice",
        "another slot of the same request was refused",
        "event_id is there twice",
    }
    assert list(whole) == list(parted) == ["p/m", "p/w", "q/m", "q/w"]
    for name, log in whole.items():
        other = parted[name]
        assert other.items == log.items
        for column in ("item_idx", "position", "reward", "propensity", "request_idx", "user_idx", "timestamp"):
            np.testing.assert_array_equal(getattr(other, column), getattr(log, column), err_msg=column)
        np.testing.assert_array_equal(other.others["euro"], log.others["euro"])
        for segment, (labels, codes) in log.segments.items():
            assert other.segments[segment][0] == labels
            np.testing.assert_array_equal(other.segments[segment][1], codes)
    assert sum(log.reward.sum() for log in whole.values()) > 100


def test_what_is_read_is_what_a_plain_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by whole columns of pandas: no bad row, no slot twice, no list with a hole; sorted, and split."""
    form = tangled(tmp_path)
    monkeypatch.setattr(reading, "PART_ROWS", 100)
    logs, _ = read(tmp_path, form)
    frame = pd.read_csv(tmp_path / "impressions.csv")
    frame["row"] = np.arange(len(frame))
    bad = frame["propensity"] > 1
    good = frame[~bad]
    twice = good.duplicated(["request_id", "position"])
    broken = {*frame.loc[bad, "request_id"], *good.loc[twice, "request_id"]}
    good = good[~good["request_id"].isin(broken)]
    first = frame.groupby("request_id")["row"].min()
    good = good.assign(first=good["request_id"].map(first)).sort_values(["timestamp", "first", "position"])
    for name, log in logs.items():
        policy, campaign = name.split("/")
        rows = good[(good["policy"] == policy) & (good["campaign"] == campaign)]
        assert [log.items.ids[item] for item in log.item_idx] == rows["item_id"].tolist()
        assert log.position.tolist() == (rows["position"] - 1).tolist()
        assert log.propensity.tolist() == rows["propensity"].tolist()
        assert [log.users[user] if user >= 0 else "" for user in log.user_idx] == rows["user_id"].fillna("").tolist()
        assert log.request_idx.tolist() == (rows["first"].diff().fillna(0) != 0).cumsum().tolist()
        codes = np.array(log.segments["device"][0])[log.segments["device"][1]]
        assert codes.tolist() == rows["device"].tolist()


def test_a_hash_is_seen_again_however_long_ago_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeenHashes, "_MOST_RUNS", 3)
    rng = np.random.default_rng(0)
    seen, before = SeenHashes(), set[int]()
    for _ in range(12):
        batch = rng.integers(0, 300, 40).astype(np.uint64)
        expected = [(value in before) or (value in batch[:place]) for place, value in enumerate(batch.tolist())]
        assert seen.again(batch).tolist() == expected
        before |= set(batch.tolist())
    assert seen.again(np.zeros(0, dtype=np.uint64)).tolist() == []


MEASURE = """
import re, sys
from recsys.replay import reading
reading.PART_ROWS = 25_000
from recsys.commands.replay import replay
from pathlib import Path
replay(log=Path(sys.argv[1]), policy=["random", "popularity~0.1"], against="logged", samples=20)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def peak_mb(folder: Path, n_requests: int) -> int:
    rng = np.random.default_rng(1)
    n = 2 * n_requests
    request = np.arange(n) // 2
    pd.DataFrame(
        {
            "request_id": [f"request-{number}" for number in request],
            "user_id": [f"user-{number % 500}" for number in request],
            "item_id": [f"item-{item}" for item in rng.integers(0, 20, n)],
            "position": np.arange(n) % 2,
            "propensity": np.full(n, 0.05),
            "timestamp": T0 + request.astype(float),
        }
    ).to_parquet(folder / "impressions.parquet", row_group_size=50_000)
    clicked = rng.random(n_requests) < 0.1
    pd.DataFrame(
        {
            "recommendation_id": [f"request-{number}" for number in np.flatnonzero(clicked)],
            "item_id": "item-3",
            "event_type": "click",
            "timestamp": T0 + np.flatnonzero(clicked) + 5.0,
        }
    ).to_parquet(folder / "events.parquet")
    call = [sys.executable, "-c", MEASURE, str(folder)]
    found = subprocess.run(call, check=True, capture_output=True, text=True)
    return int(found.stdout.splitlines()[-1])


def test_a_log_eight_times_as_long_takes_hardly_more_memory(tmp_path: Path) -> None:
    """100,000 and 800,000 slots, 25,000 of them in memory: 700,000 more, held as a table, would take over 300 MB."""
    (tmp_path / "short").mkdir()
    (tmp_path / "long").mkdir()
    short, long = peak_mb(tmp_path / "short", 50_000), peak_mb(tmp_path / "long", 400_000)
    assert long - short < 60, (short, long)
