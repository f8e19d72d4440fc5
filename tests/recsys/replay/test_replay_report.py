from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.vocabulary import Vocabulary
from recsys.replay.bandits import play
from recsys.replay.engine import ReplayConfig, replay
from recsys.replay.plots import Whisker, band_plot, overlap_plot, weight_plot, whisker_plot
from recsys.replay.policy import Logged, TablePolicy
from recsys.replay.report import write_replay_report
from recsys.replay.result import Judged, replay_json
from recsys.replay.simulator.policies import tasteful, uniform
from recsys.replay.simulator.traffic import simulate
from recsys.replay.simulator.world import make_world
from recsys.replay.verdict import judge_kept


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """A replay of lists with a policy to trust, one that cannot be judged, and a bandit; names are hostile."""
    world = make_world(n_items=6, n_groups=2, n_positions=2, click_rate=0.2, seed=4)
    log = simulate(world, uniform(world), 8000, seed=1, name="<b>log</b>")
    log = replace(log, items=Vocabulary((*log.items.ids, "ghost")))
    never = np.zeros((4, 7))
    never[:, 6] = 1.0
    liked = np.pad(tasteful(world, strength=0.7).table, ((0, 0), (0, 1)))
    policies = [TablePolicy("liked", liked), TablePolicy('never "shown" & <i>', never), Logged(log)]
    config = ReplayConfig(bootstrap_samples=200, lift=0.02)
    result = replay(log, policies, against="logged", config=config)
    played = play("linucb", log, seed=0, samples=100, level=0.95).estimate
    judged = Judged({"replay": played, "auto": played}, {"auto": "replay"}, None, judge_kept(played, len(log)))
    result.policies["linucb"] = judged
    return replay_json([result], asked={"against": "logged"}, quarantined={"click must be 0 or 1": 3})


def test_the_page_says_in_words_what_may_be_believed(found: dict[str, Any], tmp_path: Path) -> None:
    write_replay_report(tmp_path / "page.html", found)
    page = (tmp_path / "page.html").read_text()
    estimate = found["logs"]["<b>log</b>"]["policies"]["liked"]["estimators"]["auto"]
    assert f"<strong>liked</strong>: trustworthy. {estimate['value']:.5f}, between {estimate['low']:.5f}" in page
    assert "&lt;b&gt;log&lt;/b&gt;" in page
    assert "<b>log" not in page
    assert "never &quot;shown&quot; &amp; &lt;i&gt;</strong>: cannot be estimated from this log. No logged slot" in page
    assert "click must be 0 or 1" in page
    assert not re.search(r"(?:src|href)=.https?:", page)
    assert page.count("<svg ") == page.count('<svg role="img" aria-label="')


def test_plots_tell_their_numbers_to_those_who_do_not_see_them() -> None:
    nan = float("nan")
    plot = whisker_plot(
        "T", [Whisker("a", 0.5, 0.4, 0.6), Whisker("b", nan, nan, nan)], reference=0.45, reference_label="as it was"
    )
    assert 'aria-label="T: a 0.5000, from 0.4000 to 0.6000; b n/a; as it was 0.4500"' in plot
    plot = weight_plot("W", [(1e-4, 75), (1.2589, 20), (15.8, 4), (nan, 1)])
    assert "75% of 100 rows have no weight, 5.0% weigh more than 10" in plot
    plot = overlap_plot("O", [("never", 0.25, 0.0), ("over 10%", 0.75, 1.0)])
    assert "items shown never: policy 25.0%, log 0.0%; items shown over 10%: policy 75.0%, log 100.0%" in plot
    plot = band_plot("B", [nan, 0.5], [nan, 0.4], [nan, 0.6], reference=0.5)
    assert "at the end 0.5000, surely between 0.4000 and 0.6000" in plot
    assert "nan" not in plot


@pytest.fixture
def page(found: dict[str, Any], tmp_path: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    write_replay_report(tmp_path / "page.html", found)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 740})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        page.goto(f"file://{tmp_path}/page.html")
        yield page
        assert errors == []
        browser.close()


def test_in_a_browser_plots_are_drawn_inside_their_frames_and_the_page_fits_a_phone(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = """[...document.querySelectorAll('svg')].flatMap(svg => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('circle, rect, path, line, text')].filter(mark => {
            const own = mark.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1
                || own.bottom > box.bottom + 1;
        }).map(mark => mark.outerHTML);
    })"""
    assert page.evaluate(outside) == []
    assert page.locator("svg").count() == 1 + 3 * 6 + 1  # estimators, weights, overlap, time, positions, groups
    assert page.locator("h1").count() == 1
    tree = page.locator("main").aria_snapshot()
    assert 'heading "What would these policies have earned?"' in tree or "What would these policies" in tree
    assert "liked: every estimator" in tree
    assert "row" in tree
