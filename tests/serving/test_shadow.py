"""A new version is tried on live traffic, and whatever becomes of it, no answer knows of it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from typer.testing import CliRunner

from features.errors import InputError
from recsys.bundle import Bundle
from serving.commands.shadow import app
from serving.keys import Keys
from serving.publishing import Publisher
from serving.shadow.comparison import compared
from serving.shadow.tally import read, sums
from serving.shadow.worker import WAITING


@pytest.fixture
def tried(service: Any, publisher: Publisher, changed_bundle: Path, eventually: Any) -> Any:
    """The service, with the changed bundle tried on all of its traffic."""
    publisher.shadow(Bundle.open(changed_bundle), 1.0)
    eventually(lambda: service.app.state.shadow.lists is not None)
    return service


def counted(service: Any, outcome: str, **labels: str) -> float:
    number: float = service.metric("recsys_shadow_requests_total", outcome=outcome, **labels)
    return number


def test_the_shadow_answers_the_same_requests_by_the_new_version_and_the_shop_sees_the_old_one(
    tried: Any, publisher: Publisher, changed_bundle: Path, redis_server: Any, eventually: Any
) -> None:
    current, new = publisher.current(), Bundle.open(changed_bundle).version
    for _ in range(3):
        feed, similar = tried.feed("u1"), tried.get("/v1/items/i3/similar").json()
        assert feed["model_version"] == similar["model_version"] == current
    eventually(lambda: counted(tried, "compared") == 6)
    eventually(lambda: sum(one.requests["compared"] for one in publisher.shadow_report().surfaces.values()) == 6)
    told = publisher.shadow_report()
    assert (told.current, told.version, told.share) == (current, new, 1.0)
    assert told.surfaces["feed"].overlap == 0  # the embeddings are turned around
    assert math.isnan(told.surfaces["feed"].correlation)
    assert told.surfaces["similar"].overlap == 1  # the published lists are the same
    assert told.surfaces["similar"].correlation == pytest.approx(1)
    assert told.surfaces["feed"].requests == {"compared": 3, "failed": 0, "dropped": 0, "other": 0}
    assert told.surfaces["feed"].live.empty == told.surfaces["feed"].shadow.empty == 0
    assert 0 < told.surfaces["feed"].shadow.p50_s <= told.surfaces["feed"].shadow.p95_s
    sent = {slot["item"]["item_id"] for one in (feed, similar) for slot in one["recommendations"]}
    assert told.items == {"live": len(sent), "shadow": 24}
    assert told.n_items == {"live": 60, "shadow": 60}
    with redis_server.client() as client:
        eventually(lambda: client.xlen(Keys().impressions) == 6)
        time.sleep(0.5)
        assert {fields[b"model_version"].decode() for _, fields in client.xrange(Keys().impressions)} == {current}
    assert tried.metric("recsys_answers_total") == 6


def test_what_is_drawn_is_drawn_alike_for_both_so_that_chance_is_no_disagreement(
    service: Any, publisher: Publisher, rewritten: Callable[..., Path], tmp_path: Path, eventually: Any
) -> None:
    now = service.app.state.engine.live.bundle
    alike = rewritten(now, tmp_path / "alike", popularity=2 * np.asarray(now.popularity))  # another version, same order
    rules = {"exploration": {"temperature": 1.0}}
    with service.client() as client:
        client.put("/v1/rules", json=rules).raise_for_status()
    publisher.shadow(Bundle.open(alike), 1.0)
    eventually(lambda: service.app.state.shadow.lists is not None)
    eventually(lambda: len({tuple(service.feed_ids("u1", 5)) for _ in range(4)}) > 1)
    before = publisher.shadow_report()
    for _ in range(5):
        service.get("/v1/items/i3/similar", k=5)
    eventually(lambda: counted(service, "compared") >= 9)
    eventually(lambda: sum(one.requests["compared"] for one in publisher.shadow_report().surfaces.values()) >= 9)
    told = publisher.shadow_report().surfaces
    assert before.version == Bundle.open(alike).version
    for surface in ("feed", "similar"):
        assert told[surface].overlap == 1
        assert told[surface].correlation == pytest.approx(1)


def test_a_shadow_that_fails_or_hangs_changes_no_answer_and_is_counted(tried: Any, eventually: Any) -> None:
    shadow, before = tried.app.state.shadow, tried.feed("u1")
    eventually(lambda: counted(tried, "compared") == 1)

    class Broken:
        async def feed(self, *_: object, **__: object) -> bytes:
            raise RuntimeError("the model is broken")

        async def similar(self, *_: object, **__: object) -> bytes:
            await asyncio.sleep(60)
            return b""

    shadow.lists = Broken()
    for _ in range(3):
        assert tried.feed("u1")["recommendations"] == before["recommendations"]
    eventually(lambda: counted(tried, "failed", surface="feed") == 3)
    began = time.monotonic()
    answers = [tried.get("/v1/items/i3/similar").status_code for _ in range(WAITING + 20)]  # the first one hangs
    assert set(answers) == {200}
    assert time.monotonic() - began < 50
    assert counted(tried, "dropped", surface="similar") >= 1
    assert len(shadow._waiting) <= WAITING
    assert tried.get("/ready").status_code == 200


def test_a_slow_shadow_delays_nobody(tried: Any) -> None:
    class Slow:
        async def feed(self, *_: object, **__: object) -> bytes:
            return await asyncio.to_thread(lambda: time.sleep(0.5) or b"")

    tried.app.state.shadow.lists = Slow()
    times = []
    for _ in range(20):
        began = time.monotonic()
        tried.feed("u1")
        times.append(time.monotonic() - began)
    assert float(np.median(times)) < 0.25


def test_what_is_said_of_items_holds_for_the_shadow_too(tried: Any, eventually: Any) -> None:
    shadow = tried.app.state.shadow
    feed, answers = shadow.lists.feed, list[set[str]]()

    async def overheard(*asked: Any, **more: Any) -> bytes:
        answer: bytes = await feed(*asked, **more)
        answers.append({slot["item"]["item_id"] for slot in json.loads(answer)["recommendations"]})
        return answer

    def shown_by_the_shadow() -> set[str]:
        n = len(answers)
        tried.feed("u1")
        eventually(lambda: len(answers) > n)
        return answers[-1]

    shadow.lists.feed = overheard
    gone = min(shown_by_the_shadow())
    assert tried.say("PATCH", gone, {"available": False}).status_code == 200
    eventually(lambda: gone not in shown_by_the_shadow())


def test_the_switch_after_a_trial_is_at_once_and_can_be_taken_back(
    tried: Any, publisher: Publisher, changed_bundle: Path, redis_server: Any, eventually: Any
) -> None:
    current, new = publisher.current(), Bundle.open(changed_bundle).version
    done = publisher.switch_to_shadow()
    assert (done.version, done.previous, done.predicted_bytes) == (new, current, 0)
    eventually(lambda: tried.feed("u1")["model_version"] == new)
    eventually(lambda: tried.app.state.shadow.lists is None)
    with redis_server.client() as client:
        assert client.exists(Keys().shadow) == 0
    assert publisher.rollback() == (new, current)
    eventually(lambda: tried.feed("u1")["model_version"] == current)


def test_a_trial_that_is_stopped_leaves_nothing(
    tried: Any, publisher: Publisher, changed_bundle: Path, redis_server: Any, eventually: Any
) -> None:
    version = publisher.end_shadow()
    assert version == Bundle.open(changed_bundle).version
    eventually(lambda: tried.app.state.shadow.lists is None)
    with redis_server.client() as client:
        left = [client.ttl(name) for name in client.scan_iter(Keys().of_version(version))]
    assert left
    assert all(0 <= ttl <= 60 for ttl in left)
    with pytest.raises(InputError, match="no version is shadowed"):
        publisher.end_shadow()
    with pytest.raises(InputError, match="no version is shadowed"):
        publisher.switch_to_shadow()


def test_a_publish_meanwhile_keeps_what_is_tried(
    tried: Any, publisher: Publisher, changed_bundle: Path, make_bundle: Callable[..., Bundle]
) -> None:
    for turn in (1, 2):
        publisher.publish(make_bundle(np.eye(3) * turn))
    assert publisher.shadow_report().version == Bundle.open(changed_bundle).version
    assert publisher.switch_to_shadow().predicted_bytes == 0  # still whole in Redis


def test_only_what_could_become_current_can_be_tried(publisher: Publisher, small_bundle: Path) -> None:
    with pytest.raises(InputError, match="nothing is published"):
        publisher.shadow(Bundle.open(small_bundle), 0.5)
    publisher.publish(Bundle.open(small_bundle))
    with pytest.raises(InputError, match="current already"):
        publisher.shadow(Bundle.open(small_bundle), 0.5)


def test_the_commands_lead_through_a_trial(
    service: Any, changed_bundle: Path, redis_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    new = Bundle.open(changed_bundle).version

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    assert "10.00% of the requests" in run("start", str(changed_bundle))
    told = json.loads(run("report", "--json").splitlines()[-1])
    assert (told["version"], told["surfaces"]) == (new, {})
    assert new in run("report")
    assert "no longer tried" in run("stop")
    run("start", str(changed_bundle), "--share", "1")
    assert f"version {new} is current" in run("switch")


@given(st.permutations(list("abcdefgh")), st.integers(0, 8), st.integers(0, 8))
def test_lists_are_compared_by_what_both_show(order: list[str], n_live: int, n_shadow: int) -> None:
    live, shadow = list("abcdefgh")[:n_live], order[:n_shadow]
    found = compared(live, shadow)
    both = [one for one in live if one in shadow]
    if n_live or n_shadow:
        assert found.overlap == len(both) / max(n_live, n_shadow)
    else:
        assert math.isnan(found.overlap)
    if len(both) < 2:
        assert math.isnan(found.correlation)
    else:
        wanted = spearmanr([live.index(one) for one in both], [shadow.index(one) for one in both]).statistic
        assert found.correlation == pytest.approx(wanted)


def test_sums_of_comparisons_read_as_means_and_quantiles() -> None:
    hashed: dict[str, float] = {}
    for times, (live, shadow, shadow_s) in enumerate([("ab", "ab", 0.004), ("ab", "", 0.004), ("", "", 0.4)]):
        for name, value in sums("feed", compared(live, shadow), live_s=0.0015 + times, shadow_s=shadow_s).items():
            hashed[name] = hashed.get(name, 0.0) + value
    one = read({name.encode(): str(value).encode() for name, value in hashed.items()})["feed"]
    assert one.requests == {"compared": 3, "failed": 0, "dropped": 0, "other": 0}
    assert one.overlap == 0.5  # of the two that show anything
    assert one.correlation == pytest.approx(1)
    assert (one.live.empty, one.shadow.empty) == (1, 2)
    assert one.shadow.mean_s == pytest.approx(0.136)
    assert (one.shadow.p50_s, one.shadow.p95_s) == (0.005, 0.5)
    assert one.live.p95_s == math.inf
