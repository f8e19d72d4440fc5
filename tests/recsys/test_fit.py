from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import InputError
from features.locks import alone_in
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.bundle import Bundle
from recsys.compare import judge
from recsys.config import FitConfig, load_config
from recsys.evaluate_run import evaluate_run
from recsys.fit import FitSummary, fit
from recsys.prepare import split_events
from recsys.recommender import BundleRecommender
from recsys.run_folder import RunFolder
from recsys.scorer import EmbeddingScorer
from recsys.training import FittedGNN, TrainConfig, fit_gnn


def recsys(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "recsys", *arguments], capture_output=True, text=True, check=True)


def test_a_fit_leaves_a_bundle_an_evaluation_and_a_report(fitted: FitSummary) -> None:
    folder = fitted.folder
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "bundle", "evaluation.json", "fit.json", "quarantine.jsonl", "report.html", "runs",
    ]  # fmt: skip
    evaluation = json.loads(folder.evaluation.read_bytes())
    assert evaluation["split"] == "per_user_time"
    assert Bundle.open(folder.bundle).ranker is not None  # so what it orders is judged, too
    assert list(evaluation["models"]) == ["gnn", "served", "popularity", "item_knn", "content"]
    assert '"served" is what a feed shows' in evaluation["protocol"]
    for model in evaluation["models"].values():
        assert 0 <= model["test"]["recall@20"] <= 1
        assert 0 <= model["valid"]["ndcg@20"] <= 1
    assert "per_user_time" in folder.report.read_text()


def test_the_gnn_beats_popularity_on_planted_tastes(fitted: FitSummary) -> None:
    models = fitted.evaluation["models"]
    assert models["gnn"]["test"]["recall@20"] > 1.3 * models["popularity"]["test"]["recall@20"]


def test_of_the_settings_tried_the_best_on_validation_is_served(
    synthetic_shop: Path, quick: tuple[str, ...], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalls: dict[float, float] = {}

    def recorded(*args: Any, config: TrainConfig, **kwargs: Any) -> FittedGNN:
        fitted = fit_gnn(*args, config=config, **kwargs)
        recalls[config.temperature] = fitted.best_recall
        return fitted

    monkeypatch.setattr("recsys.fit.fit_gnn", recorded)
    settings = [
        *quick,
        "train.epochs=9",
        "train.temperature=50.0",
        "alternatives=[{temperature=0.2}, {temperature=40.0}]",
    ]
    summary = fit(synthetic_shop, out=tmp_path, config=load_config(None, settings), cache_dir=cache)
    assert not summary.up_to_date
    params = summary.evaluation["models"]["gnn"]["params"]
    assert sorted(recalls) == [0.2, 40.0, 50.0]
    assert recalls[0.2] == max(recalls.values()), "a nearly flat softmax learns slowly"
    assert (params["temperature"], params["tried"], params["valid_recall@20"]) == (0.2, 3, recalls[0.2])
    reported = summary.evaluation["models"]["gnn"]["valid"]["recall@20"]
    assert reported == pytest.approx(recalls[0.2], abs=0.01), (
        "as judged by the evaluation, which breaks ties its own way"
    )


def test_what_is_served_is_what_was_judged(fitted: FitSummary, quick: tuple[str, ...], synthetic_shop: Path) -> None:
    bundle = Bundle.open(fitted.folder.bundle)
    config = load_config(None, quick)
    split = split_events(read_shop(synthetic_shop, quarantine=Quarantine()), None, config)
    users = np.insert(bundle.user_embeddings, bundle.user_embeddings.shape[1], 1, axis=1)
    scorer = EmbeddingScorer("bundle", users, np.asarray(bundle.item_vectors))
    again = judge(scorer, split, config.evaluation)["test"].metrics
    reported = fitted.evaluation["models"]["gnn"]["test"]
    assert again == pytest.approx({name: np.nan if value is None else value for name, value in reported.items()})
    assert bundle.manifest.metrics["test"]["recall@20"] == reported["recall@20"]


def test_a_user_is_not_shown_what_any_of_the_shops_events_says_they_know(
    fitted: FitSummary, synthetic_shop: Path
) -> None:
    bundle = Bundle.open(fitted.folder.bundle)
    events = read_shop(synthetic_shop, quarantine=Quarantine()).interactions
    for user_idx in range(0, len(events.users), 37):
        known = set(events.item_idx[events.user_idx == user_idx].tolist())
        assert set(bundle.seen(bundle.users.idx(events.users[user_idx])).tolist()) == known


def test_a_second_fit_finds_everything_done_and_changes_no_file(
    fitted: FitSummary, quick: tuple[str, ...], synthetic_shop: Path, cache: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in fitted.folder.path.rglob("*")}
    again = fit(synthetic_shop, out=fitted.folder.path, config=load_config(None, quick), cache_dir=cache)
    assert again.up_to_date
    assert again.evaluation == json.loads(json.dumps(fitted.evaluation))
    assert {path: path.stat().st_mtime_ns for path in fitted.folder.path.rglob("*")} == before


def test_of_two_fits_into_one_folder_the_second_waits_and_then_finds_all_done(
    fitted: FitSummary, synthetic_shop: Path, quick: tuple[str, ...], cache: Path
) -> None:
    folder = fitted.folder
    done = folder.request()
    with ThreadPoolExecutor(1) as thread:
        with alone_in(folder.runs, doing="stands for the first fit"):
            folder.remember({**done, "done": False})
            second = thread.submit(
                fit, synthetic_shop, out=folder.path, config=load_config(None, quick), cache_dir=cache
            )
            with pytest.raises(TimeoutError):
                second.result(2)
            folder.remember(done)
        assert second.result(60).up_to_date


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_done(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(InputError, match=r"--out must be a folder, .*run is a file"):
        fit(tmp_path / "nowhere", out=tmp_path / "run", cache_dir=cache)


def test_a_bundle_can_be_judged_again_at_other_lengths(fitted: FitSummary, cache: Path, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(fitted.folder.path, copy.path)
    again = evaluate_run(copy, ["evaluation.ks=[5, 20]", 'baselines.models=["popularity"]'], cache_dir=cache)
    assert list(again["models"]) == ["gnn", "served", "popularity"]
    assert again["models"]["gnn"]["test"]["recall@20"] == fitted.evaluation["models"]["gnn"]["test"]["recall@20"]
    assert again["models"]["gnn"]["test"]["recall@5"] < again["models"]["gnn"]["test"]["recall@20"]
    assert copy.read_evaluation() == again


def test_judging_again_refuses_settings_that_would_make_another_bundle(fitted: FitSummary, cache: Path) -> None:
    with pytest.raises(InputError, match=r"train\.epochs=3.*another bundle"):
        evaluate_run(fitted.folder, ["train.epochs=3"], cache_dir=cache)


def test_judging_again_keeps_what_the_fit_was_told(fitted: FitSummary, cache: Path, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(fitted.folder.path, copy.path)
    again = evaluate_run(copy, ["evaluation.ks=[20]"], cache_dir=cache)
    assert list(again["models"]) == ["gnn", "served", "popularity", "item_knn", "content"]
    assert again["config"]["bootstrap_samples"] == 50


def test_judging_again_refuses_a_bundle_that_learned_from_another_split(
    fitted: FitSummary, cache: Path, tmp_path: Path
) -> None:
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(fitted.folder.path, copy.path)
    request = copy.request()
    request["config"]["seed"] = 1
    copy.remember(request)
    with pytest.raises(InputError, match="not what its bundle was fitted with"):
        evaluate_run(copy, [], cache_dir=cache)


def test_a_damaged_memory_of_the_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "fit.json").write_text("{")
    with pytest.raises(InputError, match=r"fit\.json: is damaged"):
        RunFolder(tmp_path).request()


def test_fit_and_evaluate_print_the_table_from_the_command_line(
    synthetic_shop: Path, quick: tuple[str, ...], cache: Path, tmp_path: Path
) -> None:
    given = [argument for setting in (*quick, "train.epochs=3", "alternatives=[]") for argument in ("--set", setting)]
    fitted = recsys("fit", str(synthetic_shop), "--out", str(tmp_path / "run"), "--cache", str(cache), *given)
    assert "GNN" in fitted.stdout
    assert "Popularity" in fitted.stdout
    judged = recsys("evaluate", str(tmp_path / "run"), "--cache", str(cache))
    rows = [line.split() for line in fitted.stdout.splitlines() if line.strip().startswith("GNN")]
    assert rows == [line.split() for line in judged.stdout.splitlines() if line.strip().startswith("GNN")]


@pytest.mark.real_data
def test_real_movies_with_posters_are_fitted_and_the_gnn_beats_popularity(
    real_data: Path, cache: Path, tmp_path: Path
) -> None:
    shop = real_data / "ml100k-posters"
    short = ["train.epochs=12", "alternatives=[]", "match.folds=2"]
    settings = [*short, 'baselines.models=["popularity", "content"]', "evaluation.bootstrap_samples=0"]
    summary = fit(
        shop, out=tmp_path, split_file=shop / "split-warm.parquet", config=load_config(None, settings), cache_dir=cache
    )
    test = {name: model["test"] for name, model in summary.evaluation["models"].items()}
    for metric in ("recall@20", "ndcg@20"):
        assert test["gnn"][metric] > 1.5 * test["popularity"][metric]
    movie = BundleRecommender(Bundle.open(summary.folder.bundle)).similar_items("m50", 5)
    assert len(movie) == 5
    assert all(slot.reasons for slot in movie)


def test_judging_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run recsys fit first"):
        evaluate_run(RunFolder(tmp_path), [], cache_dir=tmp_path)


def test_without_any_event_and_picture_items_still_have_similar_ones(tmp_path: Path, cache: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    names = [f"{color} {kind}" for kind in ("ceramic coffee mug", "leather hiking boot") for color in ("red", "blue")]
    lines = [{"item_id": f"i{i}", "title": f"{name}, size {i}"} for i, name in enumerate(names * 4)]
    (shop / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = fit(shop, out=tmp_path / "out", config=FitConfig(), cache_dir=cache)
    recommender = BundleRecommender(Bundle.open(summary.folder.bundle))
    similar = [slot.item_id for slot in recommender.similar_items("i0", 7)]
    assert {int(item_id[1:]) % 4 // 2 for item_id in similar} == {0}, "a mug's nearest are the seven other mugs"
    assert summary.evaluation["models"]["gnn"]["test"]["recall@20"] is None
    assert summary.evaluation["models"]["gnn"]["n_users"]["test"] == 0
