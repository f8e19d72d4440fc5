"""`recsys match` from a shop's folder to its files, on a small synthetic shop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from features.errors import InputError
from features.synthetic.write import write_shop
from recsys.cli import build_app
from recsys.match_config import load_match_config
from recsys.match_explain import explain_item
from recsys.match_fit import match_fit
from recsys.match_report import fusion_verdict, reliability
from recsys.match_score import score_shop, write_scores

SETTINGS = [
    "model.members=1",
    "model.epochs=30",
    "model.fusion_epochs=2",
    "model.hidden=64",
    "model.dim=32",
    "model.attention_dim=32",
    "model.local.height=96",
    "model.local.width=96",
    "model.batch=64",
    "model.learning=sequential",
    "model.architecture=co_attention",
    "seeds=2",
    "worst=3",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("match")
    write_shop(folder / "shop", n_items=200, n_users=20, seed=1)
    match_fit(folder / "shop", folder / "out", load_match_config(None, SETTINGS), cache_dir=folder / "cache")
    return folder


def test_the_numbers_are_left_as_promised(home: Path) -> None:
    told = json.loads((home / "out" / "match.json").read_text())
    test = told["test"]
    for direction in ("text_to_image", "image_to_text"):
        assert {"recall@1", "recall@10", "mrr", "ndcg@10", "map"} <= set(test[direction])
        assert test[direction]["recall@10"] > 0.3
        assert told["spread"][direction]["mrr"] >= 0
    assert test["mismatch_auroc"] > 0.9
    assert 0 <= test["calibration_error"] < 0.2
    assert test["accuracy"]["category"] > 0.5
    assert set(test["decision"]) == {"accuracy", "precision", "recall", "f1"}
    assert set(told["seeds"]) == {"0", "1"}
    one, two = (told["seeds"][seed]["mismatch_auroc"] for seed in "01")
    assert test["mismatch_auroc"] == pytest.approx((one + two) / 2)
    assert told["spread"]["mismatch_auroc"] == pytest.approx(abs(one - two) / np.sqrt(2))
    assert "sha1(image bytes)[:8] as hex % 6 == 0" in told["parts"]["rule"]
    assert not (home / "out" / "runs").exists()


def test_every_listing_is_scored_and_it_is_told_which_were_learned(home: Path) -> None:
    told = json.loads((home / "out" / "match.json").read_text())["parts"]
    table = pd.read_parquet(home / "out" / "scores.parquet")
    assert len(table) == 200
    assert table["part"].value_counts().to_dict() | {"": 0} == {k: told[k] for k in ("train", "valid", "test")} | {
        "": 0
    }
    assert (table["learned"] == (table["part"] == "train")).all()
    assert table["score"].between(0, 1).all()


def test_the_page_needs_nothing_else_and_shows_the_worst(home: Path) -> None:
    page = (home / "out" / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 4
    table = pd.read_parquet(home / "out" / "scores.parquet")
    held = table[~table["learned"]].sort_values("score", kind="stable")
    assert held["item_id"].iloc[0] in page
    assert page.count("data:image/jpeg") == 3 * (1 + 3)


def test_another_shops_listings_are_scored_by_the_model(home: Path, tmp_path: Path) -> None:
    # what was held back makes another shop, in which every fourth listing carries the picture of another one
    table = pd.read_parquet(home / "out" / "scores.parquet")
    held = table.loc[table["part"].isin(["test", "valid"]), "item_id"]
    items = pd.read_parquet(home / "shop" / "items.parquet").set_index("item_id").loc[held].reset_index()
    wrong = np.arange(0, len(items), 4)
    items.loc[wrong, "image"] = np.roll(items["image"].to_numpy()[wrong], 2)
    (tmp_path / "other").mkdir()
    items.to_parquet(tmp_path / "other" / "items.parquet")
    shutil.copy(home / "shop" / "images.zip", tmp_path / "other")
    scores = score_shop(tmp_path / "other", home / "out", cache_dir=home / "cache")
    assert scores["item_id"].tolist() == held.tolist()
    assert scores["score"][wrong].median() < scores["score"].drop(wrong).median() - 0.1
    write_scores(scores, tmp_path / "scores.csv")
    assert len(pd.read_csv(tmp_path / "scores.csv")) == len(held)
    with pytest.raises(InputError, match=r"must end in \.parquet or \.csv"):
        write_scores(scores, tmp_path / "scores.txt")


def test_a_score_is_explained_as_a_picture_and_as_data(home: Path, tmp_path: Path) -> None:
    item = pd.read_parquet(home / "out" / "scores.parquet")["item_id"].iloc[5]
    told = explain_item(home / "shop", item, home / "out", tmp_path / "why.png", cache_dir=home / "cache")
    data = json.loads((tmp_path / "why.json").read_text())
    assert data["item_id"] == item
    assert data["grid"] == [3, 3]
    assert len(data["attribution"]) == 9
    assert len(data["attention"]) == len(data["tokens"]) >= 3
    np.testing.assert_allclose(np.array(data["attention"]).sum(axis=1), 1, atol=1e-4)
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > 240
        assert len(drawn.convert("RGB").getcolors(1_000_000) or ()) > 100
    table = pd.read_parquet(home / "out" / "scores.parquet").set_index("item_id")
    assert told.score == pytest.approx(table["score"][item], abs=1e-4)
    with pytest.raises(InputError, match="item 'nobody' must be in"):
        explain_item(home / "shop", "nobody", home / "out", tmp_path / "x.png", cache_dir=home / "cache")


def test_labeled_pairs_are_read_and_the_wrong_ones_refused(tmp_path: Path) -> None:
    from features.encoders.config import EncoderConfig
    from features.match.fine.pairs import read_pairs
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop

    pd.DataFrame({"item_id": ["a", "b"], "title": ["cup", "pot"]}).to_csv(tmp_path / "items.csv", index=False)
    rows = {"item_id": ["a", "b", "c", "a"], "text": ["cup", "", "pot", "mug"], "relevance": [1, 1, 1, 1.5]}
    pd.DataFrame(rows).to_csv(tmp_path / "pairs.csv", index=False)
    refused = Quarantine()
    shop = read_shop(tmp_path, quarantine=refused)
    pairs = read_pairs(shop, EncoderConfig(), cache_dir=tmp_path / "cache", quarantine=refused)
    assert pairs is not None
    assert (pairs.row_idx.tolist(), pairs.texts, pairs.relevance.tolist()) == ([0], ["cup"], [1.0])
    assert refused.counts == {
        "item_id is not in the item table": 1,
        "relevance must be in [0, 1]": 1,
        "text is missing": 1,
    }


def test_the_report_says_whether_the_fusion_beats_the_towers_alone(home: Path) -> None:
    def summary(blend: float, *gains: tuple[float, float]) -> dict[str, object]:
        def metrics(words: float, picture: float) -> dict[str, object]:
            return {"text_to_image": {"mrr": words}, "image_to_text": {"mrr": picture}}

        seeds = {
            str(number): {**metrics(0.5 + words, 0.4 + picture), "towers_alone": metrics(0.5, 0.4)}
            for number, (words, picture) in enumerate(gains)
        }
        return {"test": seeds["0"], "seeds": seeds, "blend": blend, "config": {"model": {"rerank": 50}}}

    always = fusion_verdict(summary(0.35, (0.02, 0.01), (0.03, 0.02)))
    assert "first 50 of each search" in always
    assert "adds +0.0200 to MRR in the mean, better in 4 of 4 cases" in always
    assert "no dependable gain" not in always
    assert "better in 1 of 2 cases" in (once := fusion_verdict(summary(0.1, (0.01, -0.01))))
    assert "no dependable gain over the towers alone" in once
    assert "does not beat the towers alone" in fusion_verdict(summary(0.0, (0.0, 0.0)))
    assert not fusion_verdict({"test": {}})
    assert "The fusion orders the first 50" in (home / "out" / "report.html").read_text()


def test_reliability_weighs_right_and_wrong_pairs_alike() -> None:
    found = reliability(np.array([0.95]), np.array([0.95, 0.15, 0.15, 0.15]), bins=10)
    # the last bin: half the weight right, an eighth wrong
    np.testing.assert_allclose(found, [[0.15, 0.0], [0.95, 0.8]])


def test_the_group_of_commands_teaches_its_use() -> None:
    told = CliRunner().invoke(build_app(), ["match", "--help"])
    assert told.exit_code == 0
    assert all(name in told.stdout for name in ("fit", "score", "explain"))
    one = CliRunner().invoke(build_app(), ["match", "fit", "--help"])
    assert "match.json" in one.stdout


def test_a_shop_without_pictures_is_told_so(tmp_path: Path) -> None:
    pd.DataFrame({"item_id": ["a"], "title": ["cup"]}).to_csv(tmp_path / "items.csv", index=False)
    with pytest.raises(InputError, match=r"must hold pictures in images/ or images\.zip"):
        match_fit(tmp_path, tmp_path / "out", load_match_config(None), cache_dir=tmp_path / "cache")
    with pytest.raises(InputError, match=r"field 'model\.members'"):
        load_match_config(None, ["model.members=0"])
