"""How settings are chosen on validation, and what the last fit knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bench import bench, run, tuning
from recsys.bench.read import read_task
from recsys.bench.result import Results
from recsys.bench.settings import model_settings
from recsys.bench.summary import lead, metric_table
from recsys.bench.task import Task
from recsys.bench.tuning import choose
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS, named
from tests.recsys.tastes import QUICK, planted_folder, result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_folder(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def task(folder: Path, tmp_path: Path) -> Task:
    return read_task(folder, split_file=None, refit=None, cache_dir=tmp_path, quarantine=Quarantine())


def test_the_best_on_validation_is_chosen_and_trials_are_not_repeated(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path, task.fingerprint())
    config = changed(MODELS["mf"].config, QUICK)
    choice = choose(task, "mf", config, trials=3, budget_s=None, results=results)
    kept = [results.get(path.stem) for path in tmp_path.glob("*.json")]
    assert choice.tried == len(kept) == 4
    best = max(one.valid["recall@20"] or 0 for one in kept if one is not None and not one.ended_early)
    chosen = results.get(results.key("mf", choice.config, 0, "trial"))
    assert chosen is not None
    assert chosen.valid["recall@20"] == best
    assert not any(one.test for one in kept if one is not None), "trials do not look at test"
    monkeypatch.setattr(tuning, "trial", None)
    again = choose(task, "mf", config, trials=3, budget_s=None, results=results)
    assert again == choice


def test_a_choice_cut_off_comes_to_the_same_end(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(MODELS["mf"].config, QUICK)
    whole = choose(task, "mf", config, trials=4, budget_s=None, results=Results(tmp_path / "a", task.fingerprint()))
    cut = Results(tmp_path / "b", task.fingerprint())
    choose(task, "mf", config, trials=2, budget_s=None, results=cut)
    resumed = choose(task, "mf", config, trials=4, budget_s=None, results=cut)
    assert (resumed.changes, resumed.tried) == (whole.changes, whole.tried)


def test_a_time_budget_ends_the_draws_and_is_told(task: Task, tmp_path: Path) -> None:
    config = changed(MODELS["mf"].config, QUICK)
    choice = choose(task, "mf", config, trials=5, budget_s=1e-9, results=Results(tmp_path, "t"))
    assert (choice.tried, choice.left_out, choice.changes) == (1, 5, {})


def test_every_time_budget_among_the_settings_is_set_but_those_given() -> None:
    assert bench.budgets(MODELS["gnn"].config, 5.0) == {"train.time_budget_s": 5.0}
    assert bench.budgets(changed(MODELS["mf"].config, {"time_budget_s": 7.0}), 5.0) == {}
    assert bench.budgets(MODELS["als"].config, 5.0) == {"time_budget_s": 5.0}


def test_a_trial_that_promises_nothing_is_given_up(task: Task, tmp_path: Path) -> None:
    def give_up(entry: dict[str, float]) -> None:
        if entry["epoch"] >= 5:
            raise run.GivenUp

    config = changed(MODELS["mf"].config, QUICK)
    result = run.trial(task, "mf", config, seed=0, run_dir=tmp_path / "run", watch=give_up)
    assert result.ended_early
    assert [epoch for epoch, _ in result.looks] == [5]
    assert result.valid["recall@20"] == result.looks[0][1]


def test_the_last_fit_knows_the_validation_pairs(
    folder: Path, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = read_task(folder, split_file=None, refit=True, cache_dir=tmp_path, quarantine=Quarantine())
    seen: list[int] = []
    whole = MODELS["popularity"]

    def fit(split: Any, known: Any, config: Any, job: Job) -> Any:
        seen.append(len(split.train))
        return whole.fit(split, known, config, job)

    monkeypatch.setitem(MODELS, "popularity", replace(whole, fit=fit))
    run.final(again, "popularity", whole.config, seed=0, run_dir=tmp_path / "run")
    assert seen == [len(task.split.train), len(task.split.train) + len(task.split.valid)]


def test_means_spreads_and_leads_are_those_worked_by_hand() -> None:
    one = [result([0.2, 0.4], [1, 2]), result([0.4, 0.6], [1, 2])]
    table = metric_table(one, "test")["recall@20"]
    assert table["mean"] == pytest.approx(0.4)
    assert table["std"] == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert (table["interval"][0], table["interval"][1]) == pytest.approx((0.3, 0.5)), "users' means are .3 and .5"
    alone = metric_table(one[:1], "test")["recall@20"]
    assert np.isnan(alone["std"])
    gap = lead(one, [result([0.1, 0.1], [1, 2])])["recall@20"]
    assert gap == pytest.approx((0.3, 0.2, 0.4))
    assert np.isnan(lead(one, [result([0.1, 0.1], [1, 3])])["recall@20"]).all(), "other users, no comparison"


def test_results_come_back_as_they_were_kept_and_half_written_ones_do_not(tmp_path: Path) -> None:
    results = Results(tmp_path, "task")
    key = results.key("mf", MODELS["mf"].config, 0, "final")
    assert key != Results(tmp_path, "other").key("mf", MODELS["mf"].config, 0, "final")
    assert results.get(key) is None
    kept = replace(result([0.5, float("nan")], [3, 4]), looks=((5, 0.25),), test={"recall@20": float("nan")})
    results.put(key, kept)
    back = results.get(key)
    assert back is not None
    assert back.test == {"recall@20": None}
    assert back.looks == ((5, 0.25),)
    np.testing.assert_array_equal(back.users, [3, 4])
    np.testing.assert_array_equal(back.per_user["recall@20"], [0.5, np.nan])
    (tmp_path / f"{key}.json").unlink()
    assert results.get(key) is None


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("mf.dim", "must look like model.field=value"),
        ("dim=3", "must look like model.field=value"),
        ("nobody.dim=3", "must be of one of random"),
        ("mf.dimm=3", r"is no setting of mf: field 'dimm': there is no such setting; did you mean 'dim'\?, got 3"),
        ("mf.dim=-3", "is no setting of mf: field 'dim': Input should be greater than 0, got -3"),
        ("gnn.train.speed=1", r"is no setting of gnn: field 'train\.speed': there is no such setting"),
    ],
)
def test_settings_that_do_not_exist_are_refused(setting: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        model_settings([setting])


def test_settings_are_read_by_model() -> None:
    read = model_settings(["mf.dim=3", "gnn.train.epochs=5", "mf.loss=softmax"])
    assert read == {"mf": {"dim": 3, "loss": "softmax"}, "gnn": {"train.epochs": 5}}
    assert changed(MODELS["gnn"].config, read["gnn"]).train.epochs == 5


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"a model must be one of random, popularity, .*, got 'gru'"):
        named(["mf", "gru"])
