from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from recsys.appeal.history import CounterHistory
from recsys.bundle import Bundle
from recsys.cli import build_app
from recsys.ranking.features import FEATURES
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import Standing
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from recsys.replay.bundle_policy import answer_log
from recsys.replay.catalog_then import CatalogThen, read_changes
from recsys.replay.gate import hold_against, parse_gate
from recsys.replay.known_then import KnownThen
from recsys.replay.log import Log
from tests.recsys.replay.visits import DAY, T0, history, shown


def test_a_bundle_answers_as_the_recommender_would(two_tastes: Bundle, visits: Log) -> None:
    answered = answer_log("b", two_tastes, visits, temperature=None)
    recommender = BundleRecommender(two_tastes)
    expected = [[int(r.item_id[1:]) for r in recommender.recommend(UserState(user), 2)] for user in ("u2", "u3", None)]
    assert shown(answered.policy) == expected
    assert expected[:2] == [[0, 2], [1, 3]]
    assert answered.latency_ms["p50"] > 0


def test_only_events_before_the_request_are_known(two_tastes: Bundle, visits: Log, tmp_path: Path) -> None:
    """u2 views i0 before the first visit: it is not shown again. A view planted after it changes nothing."""
    before = f"u2,i0,{T0 - 60}\n"
    future = "".join(f"u2,i{item},{T0 + 60}\n" for item in (2, 4, 6)) + f"u3,i1,{T0 + DAY}\n"
    known = answer_log("b", two_tastes, visits, temperature=None, known=KnownThen(history(tmp_path, before)))
    planted = answer_log("b", two_tastes, visits, temperature=None, known=KnownThen(history(tmp_path, before + future)))
    assert shown(known.policy)[0] == [2, 4]
    assert shown(planted.policy) == shown(known.policy)
    later = answer_log(
        "b", two_tastes, visits, temperature=None, known=KnownThen(history(tmp_path, f"u3,i1,{T0 + DAY - 1}\n"))
    )
    assert shown(later.policy)[1][0] == 3


def test_only_what_was_in_stock_then_is_shown(two_tastes: Bundle, visits: Log, tmp_path: Path) -> None:
    """i0 is sold out after the first visit, i1 arrives only after the second."""
    (tmp_path / "stock.csv").write_text(
        f"item_id,timestamp,available\ni0,{T0 + 60},0\ni1,{T0 + DAY + 60},1\nzz,{T0},1\n"
    )
    quarantine = Quarantine()
    changes = read_changes(tmp_path / "stock.csv", two_tastes.items, quarantine=quarantine)
    assert quarantine.counts == {"item_id is not in the bundle": 1}
    answered = answer_log("b", two_tastes, visits, temperature=None, known=KnownThen(changes=changes))
    first, second, third = shown(answered.policy)
    assert first == [0, 2]
    assert second == [3, 5]
    assert 0 not in third
    catalog = CatalogThen(two_tastes, changes)
    catalog.at(T0 + 1)
    with pytest.raises(ValueError, match="moments must rise"):
        catalog.at(T0)


def test_only_clicks_before_the_request_move_a_ranker_that_goes_by_counters(
    make_bundle: Callable[..., Bundle], make_counters: Callable[..., CounterHistory], visits: Log, tmp_path: Path
) -> None:
    """What i3 earns on the first day is known to the second visit; what i2 will earn is not known to any."""
    by_ctr = np.array([float(name == "ctr") for name in FEATURES], dtype=np.float32)
    ranker = LinearRanker(np.zeros_like(by_ctr), np.ones_like(by_ctr), by_ctr, {})
    of_fit = np.array([[0.0, 1, 0], [0, 1, 0], [9, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=np.float32)  # i2, as of the end
    bundle = make_bundle(np.arange(5, 0, -1)[:, None] * np.ones((5, 2)), ranker=ranker, standing=Standing(of_fit))
    past = history(tmp_path, "".join(f"{user},i0,{T0 - 60}\n" for user in ("u2", "u3")))

    def shown_with(counters: CounterHistory | None) -> list[list[int]]:
        known = KnownThen(past, counters=counters)
        return shown(answer_log("b", bundle, visits, temperature=None, known=known).policy)

    day_one = [(f"i{item}", "", 0, T0 + DAY / 2, 100, 90 if item == 3 else 5) for item in range(1, 5)]
    burst = [("i2", "", 0, T0 + DAY + 60, 1000, 1000)]
    assert shown_with(make_counters(day_one))[:2] == [[1, 2], [3, 1]]
    assert shown_with(make_counters([*day_one, *burst]))[:2] == [[1, 2], [3, 1]]
    assert shown_with(None)[:2] == [[2, 1], [2, 1]]  # the bundle's own counters know what is to come
    at_home = [(f"i{item}", "home", 0, T0 + DAY / 2, 100, 60 if item == 4 else 5) for item in range(1, 5)]
    counters = make_counters([*day_one, *at_home])
    there = replace(visits, scenario=(("home",), np.array([0, 0, 0, 0, -1, -1])))
    told = answer_log("b", bundle, there, temperature=None, known=KnownThen(past, counters=counters))
    assert shown_with(counters)[1][0] == 3
    assert shown(told.policy)[1][0] == 4


def test_a_replay_says_of_which_moment_its_counters_are(
    two_tastes: Bundle, make_bundle: Callable[..., Bundle], make_counters: Callable[..., CounterHistory], visits: Log
) -> None:
    counters = make_counters([("i1", "", 0, T0, 10, 1)])
    told = answer_log("b", two_tastes, visits, temperature=None, known=KnownThen(counters=counters))
    assert "--ctr changes nothing" in " ".join(told.notes)
    by_ctr = np.array([float(name == "ctr") for name in FEATURES], dtype=np.float32)
    bundle = make_bundle(np.eye(2), ranker=LinearRanker(np.zeros_like(by_ctr), np.ones_like(by_ctr), by_ctr, {}))
    told = answer_log("b", bundle, visits, temperature=None)
    assert "goes by the counters it was made with" in " ".join(told.notes)


def test_an_item_that_the_log_does_not_know_is_no_match(two_tastes: Bundle, visits: Log) -> None:
    fewer = replace(
        visits, items=Vocabulary(tuple(f"i{row}" for row in range(2, 10))), item_idx=np.maximum(visits.item_idx - 2, 0)
    )
    answered = answer_log("b", two_tastes, fewer, temperature=None)
    assert shown(answered.policy)[0] == [-1, 0]


def test_a_page_asks_for_what_is_like_it(two_tastes: Bundle, visits: Log) -> None:
    page = (("i4", "gone"), np.array([0, 0, -1, -1, 1, 1]))
    answered = answer_log("b", two_tastes, replace(visits, page=page), temperature=None)
    recommender = BundleRecommender(two_tastes)
    alike = [int(r.item_id[1:]) for r in recommender.similar_items("i4", 2)]
    feed = [int(r.item_id[1:]) for r in recommender.recommend(UserState(), 2)]
    assert shown(answered.policy) == [alike, [1, 3], feed]
    assert "1 requests were on pages" in " ".join(answered.notes)


def test_drawn_lists_have_the_chances_of_their_places(two_tastes: Bundle, visits: Log) -> None:
    """The first slot by place to the power of -1/T; the second given the first, and over all first ones."""
    answered = answer_log("b", two_tastes, visits, temperature=1.0)
    policy, rows = answered.policy, visits.rows(slice(0, 6))
    best = BundleRecommender(two_tastes).recommend(UserState("u2"), 10)
    order = [int(r.item_id[1:]) for r in best]
    weights = 1.0 / np.arange(1, len(order) + 1)
    weights /= weights.sum()
    chance = {item: weights[place] for place, item in enumerate(order)}
    first, second = policy.of_logged(rows, given_above=True)[:2]
    assert first == pytest.approx(chance[0])
    assert second == pytest.approx(chance[1] / (1 - chance[0]))
    overall = policy.of_logged(rows, given_above=False)[1]
    place = order.index(1)
    by_hand = sum(weights[a] * weights[place] / (1 - weights[a]) for a in range(len(order)) if a != place)
    assert overall == pytest.approx(by_hand)
    values = np.random.default_rng(0).random((5, visits.n_cells, 10))
    found = policy.expected(rows, values, given_above=True)
    q = values[rows.fold[1], rows.cell[1]]
    left = [weights[p] * q[order[p]] for p in range(len(order)) if p != order.index(0)]
    assert found[1] == pytest.approx(sum(left) / (1 - chance[0]))


def test_a_bundle_made_after_the_log_began_is_said(two_tastes: Bundle, visits: Log) -> None:
    answered = answer_log("b", two_tastes, visits, temperature=None)
    assert "it knows the answers" in answered.notes[0]
    later = replace(visits, timestamp=visits.timestamp + 30_000 * DAY)
    assert answer_log("b", two_tastes, later, temperature=None).notes == ()


def test_what_cannot_be_answered_is_named(two_tastes: Bundle, visits: Log, tmp_path: Path) -> None:
    timeless = replace(visits, timestamp=np.full(6, np.nan))
    with pytest.raises(InputError, match="has no times"):
        answer_log("b", two_tastes, timeless, temperature=None, known=KnownThen(history(tmp_path, "")))
    with pytest.raises(InputError, match="is of searches"):
        answer_log("b", two_tastes, replace(visits, name="v1/search"), temperature=None)


def test_the_commands_count_a_log_and_replay_a_ranker_with_what_was_counted_before_each_request(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    """One slot, filled evenly, for two days; i3 is all that is clicked, and from the second day on that is known."""
    by_ctr = np.array([float(name == "ctr") for name in FEATURES], dtype=np.float32)
    ranker = LinearRanker(np.zeros_like(by_ctr), np.ones_like(by_ctr), by_ctr, {})
    bundle = make_bundle(np.arange(4, 0, -1)[:, None] * np.ones((4, 2)), ranker=ranker)
    n = 1200
    shown = np.random.default_rng(0).integers(1, 4, n)
    at = DAY * np.ceil(T0 / DAY) + 2 * DAY * (np.arange(n) + 1) / n
    log = tmp_path / "impressions.csv"
    pd.DataFrame(
        {"request_id": np.arange(n), "user_id": "ann", "item_id": [f"i{row}" for row in shown], "click": shown == 3,
         "propensity": 1 / 3, "timestamp": at}
    ).astype({"click": int}).to_csv(log, index=False)  # fmt: skip
    past = tmp_path / "events.csv"  # what a replay of the folder looks for
    past.write_text(f"user_id,item_id,timestamp\nann,i0,{T0 - 60}\n")

    def run(*args: str) -> None:
        result = CliRunner().invoke(build_app(), args, catch_exceptions=False, env={"COLUMNS": "140"})
        assert result.exit_code == 0, result.output

    def replayed(*args: str) -> float:
        out = tmp_path / "replay.json"
        asked = ("--log", str(log), "--policy", str(bundle.path), "--history", str(past))
        run("replay", *asked, "--samples", "50", "--json", str(out), *args)
        (found,) = orjson.loads(out.read_bytes())["logs"].values()
        return float(found["policies"][str(bundle.path)]["estimators"]["ips"]["value"])

    run("log", "counters", str(log), "--out", str(tmp_path / "counters"))
    assert replayed() == 0.0  # i1, always
    second = at > np.ceil(T0 / DAY) * DAY + DAY
    expected = 3 * (shown[second] == 3).sum() / n  # each slot that shows i3 then counts as three
    assert replayed("--ctr", str(tmp_path / "counters")) == pytest.approx(expected, rel=0.02)
    with pytest.raises(InputError, match="it has no counters"):
        replayed("--ctr", str(tmp_path))
    gate, quarantine = parse_gate("replay(ctr) >= logged + 10%"), Quarantine()
    assert not hold_against(gate, bundle.path, tmp_path, quarantine=quarantine).passed
    assert hold_against(gate, bundle.path, tmp_path, quarantine=quarantine, ctr=tmp_path / "counters").passed
