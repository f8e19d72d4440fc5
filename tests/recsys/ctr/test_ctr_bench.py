from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from recsys.cli import build_app
from recsys.ctr import bench
from recsys.ctr.ratings import Ratings, six_two_two
from recsys.ctr.table import bench_json, markdown


def run(arguments: list[str], **options: Any) -> Result:
    return CliRunner().invoke(build_app(), arguments, **options)


def test_models_are_compared_on_the_same_splits_and_a_finished_fit_is_not_done_again(
    folder: Path, ratings: Ratings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["bench", str(folder), "--out", str(tmp_path), "--models", "popularity", "--seeds", "1"]
    done = run(command)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["complete"] is True
    assert told["counts"] == {
        "n_users": 60, "n_items": 240, "ratings": 1440, "liked": 720, "facts": 480, "relations": 2,
    }  # fmt: skip
    measured = told["models"]["popularity"]["test"]["auc"]
    assert measured["seeds"] == 1
    assert measured["mean"] == pytest.approx(np.mean(measured["values"]))
    for seed, value in enumerate(measured["values"]):
        train, _, test = six_two_two(ratings, seed=seed)
        liked, rated = (
            np.bincount(part.item_idx, minlength=240) for part in (train.where(np.flatnonzero(train.label)), train)
        )
        chance = ((liked + 1) / (rated + 2))[test.item_idx]
        over = chance[test.label == 1][:, None] - chance[test.label == 0][None]
        assert value == pytest.approx(((over > 0) + 0.5 * (over == 0)).mean())
    assert "| popularity | " in (tmp_path / "bench.md").read_text()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a fit that is there is not done again")

    monkeypatch.setattr(bench, "apart", never)
    assert run(command).exit_code == 0
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    with pytest.raises(AssertionError):
        run([command[0], str(other), *command[2:], "--seeds", "2"], catch_exceptions=False)


def test_options_that_mean_nothing_for_ratings_are_refused(folder: Path) -> None:
    done = run(["bench", str(folder), "--ablation"])
    assert done.exit_code != 0
    assert "holds ratings" in str(done.exception) + done.output


def test_an_unknown_model_is_refused_with_the_known_ones(folder: Path) -> None:
    done = run(["bench", str(folder), "--models", "oracle"])
    assert "must be one of popularity, mf, lightgcn, relational" in str(done.exception) + done.output


def test_the_table_tells_mean_spread_and_interval_and_leaves_undefined_values_open() -> None:
    metrics = {"auc": 0.5, "f1": 0.6, "accuracy": 0.7, "log_loss": None}
    runs = [
        {"test": metrics | {"auc": value}, "valid": metrics, "fit_s": 1.0, "peak_bytes": 10}
        for value in (0.5, 0.6, 0.7)
    ]
    told = bench_json("here", "so", {"n_users": 3}, {"one": runs, "two": runs[:1]}, complete=True)
    auc = told["models"]["one"]["test"]["auc"]
    assert (auc["mean"], auc["std"]) == (pytest.approx(0.6), pytest.approx(0.1))
    assert auc["interval"] == pytest.approx([0.6 - 4.3027 * 0.1 / 3**0.5, 0.6 + 4.3027 * 0.1 / 3**0.5], rel=1e-4)
    assert told["models"]["two"]["test"]["auc"]["std"] is None
    text = markdown(told)
    assert "| one | .6000 ± .1000 |" in text
    assert "| two | .5000 | .6000 | .7000 | - |" in text
