"""`recsys search` on a shop that was really fitted, with the encoders that come with the product."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from features.pictures.sources import ZipImages
from recsys.bundle import Bundle
from recsys.cli import build_app
from recsys.search.query import SearchQuery
from recsys.search.searcher import Searcher

if TYPE_CHECKING:
    from pathlib import Path

    from recsys.fit import FitSummary


@pytest.fixture(scope="module")
def bundle(fitted: FitSummary) -> Bundle:
    return Bundle.open(fitted.folder.bundle)


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(build_app(), ["search", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_fitted_shop_is_searched_by_its_words(fitted: FitSummary, bundle: Bundle) -> None:
    title = str(bundle.display(3)["title"])
    twins = {shown["item_id"] for shown in bundle.displays() if shown["title"] == title}
    answer = json.loads(run(fitted.folder.path, title, "--json", "-k", 50, "--sold-out"))
    assert answer["channels"] == ["lexical", "words_to_words", "words_to_pictures"]
    first = {result["item_id"] for result in answer["results"][: len(twins)]}
    assert first == twins
    assert answer["results"][0]["reasons"][0].startswith("words match: ")


def test_words_that_the_encoder_cannot_read_come_with_a_warning(fitted: FitSummary) -> None:
    answer = json.loads(run(fitted.folder.path, "红色马克杯", "--json"))
    assert "does not know 5 of the 5 letters" in answer["warnings"][0]
    assert not any(result["reasons"] for result in answer["results"])
    shown = " ".join(run(fitted.folder.path, "红色马克杯").split())
    assert shown.startswith(f"note: {answer['warnings'][0]}")
    assert json.loads(run(fitted.folder.path, "mug", "--json"))["warnings"] == []


def test_a_picture_file_finds_its_item(
    fitted: FitSummary, bundle: Bundle, synthetic_shop: Path, tmp_path: Path
) -> None:
    name = next(shown["image"] for shown in bundle.displays() if shown["image"])
    whose = {shown["item_id"] for shown in bundle.displays() if shown["image"] == name}
    picture = tmp_path / name
    picture.write_bytes(ZipImages(synthetic_shop / "images.zip").read(name))
    answer = json.loads(run(fitted.folder.bundle, "--picture", picture, "--json", "-k", 5, "--sold-out"))
    assert whose & {result["item_id"] for result in answer["results"]}
    assert "looks like your picture" in answer["results"][0]["reasons"]


def test_examples_of_each_kind_pull_near_or_push_away(
    fitted: FitSummary, bundle: Bundle, synthetic_shop: Path, tmp_path: Path
) -> None:
    shown = next(one for one in bundle.displays() if one["image"])
    picture = tmp_path / shown["image"]
    picture.write_bytes(ZipImages(synthetic_shop / "images.zip").read(shown["image"]))

    def places(*arguments: object) -> list[str]:
        answer = json.loads(run(fitted.folder.path, *arguments, "--json", "-k", len(bundle), "--sold-out"))
        return [result["item_id"] for result in answer["results"]]

    item, words = shown["item_id"], shown["title"]
    anything = " ".join(str(bundle.display(row)["title"]) for row in (1, 2))
    middle = places(anything).index(item)
    assert places(anything, "--with", words).index(item) < middle
    assert places(anything, "--like-picture", picture).index(item) < middle
    far = places(anything, "--without", words)
    assert item not in far or far.index(item) > middle
    far = places(anything, "--unlike-picture", picture)
    assert item not in far or far.index(item) > middle
    told = run(fitted.folder.path, anything, "--unlike-picture", picture, "--parts", "-k", 5)
    assert {"lexical", "against"} <= set(re.findall(r"[a-z_]{6,}", told))
    assert "against" not in run(fitted.folder.path, anything, "--unlike-picture", picture, "-k", 5)
    assert item not in places(anything, "--like", item)  # examples are not shown


def test_the_weight_of_a_shopper_s_taste_can_be_said(fitted: FitSummary, bundle: Bundle) -> None:
    words, user = str(bundle.display(3)["title"]), bundle.users[0]

    def found(*arguments: object) -> list[str]:
        answer = json.loads(run(fitted.folder.path, words, "--json", "-k", 20, *arguments))
        return [result["item_id"] for result in answer["results"]]

    assert found("--user", user, "--user-weight", 0) == found()
    assert found("--user", user, "--user-weight", 1) != found()


def test_the_table_shows_titles_and_reasons_and_filters_hold(fitted: FitSummary, bundle: Bundle) -> None:
    shown = bundle.display(0)
    name, (value, *_) = next(iter(shown["attributes"].items()))
    out = run(fitted.folder.path, shown["title"], "--filter", f"{name}={value}", "-k", 3)
    assert "words match" in " ".join(out.split())
    found = json.loads(run(fitted.folder.path, shown["title"], "--filter", f"{name}={value}", "--json", "-k", 100))
    for result in found["results"]:
        item = bundle.display(bundle.items.idx(result["item_id"]))
        assert value in item["attributes"][name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--filter", "nonsense"], "--filter must look like attribute=value"),
        (["x", "--filter", "nonsense=1"], "must be an attribute of this shop"),
        ([""], "words must not be blank"),
        (["x", "--picture", "none.png"], "--picture none.png: cannot be read"),
        (["x", "--unlike-picture", "none.png"], "--unlike-picture none.png: cannot be read"),
        (["x", "--with", " "], "like.words must not be blank"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(fitted: FitSummary, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(build_app(), ["search", str(fitted.folder.path), *arguments], catch_exceptions=False)


def test_the_fusion_of_a_fitted_shop_was_chosen_by_what_it_reached(bundle: Bundle) -> None:
    learned = Searcher(bundle).stored.report["fusion"]["words"]
    assert min(learned["queries"]) >= 20
    assert set(learned["mrr"]) == {
        "lexical",
        "words_to_words",
        "words_to_pictures",
        "reciprocal_ranks",
        "learned",
    }
    assert all(0 < mrr <= 1 for mrr in learned["mrr"].values())
    assert (learned["weights"] is not None) == (learned["mrr"]["learned"] > learned["mrr"]["reciprocal_ranks"])


def test_eight_bit_weights_take_a_quarter_and_keep_the_direction(bundle: Bundle, tmp_path: Path) -> None:
    from features.onnx.encoders import TEXT, EncodersSpec, QueryEncoders
    from features.onnx.quantize import quantize

    whole = bundle.path / "onnx"
    for name in ("encoders.json", "tokenizer.json"):
        shutil.copy(whole / name, tmp_path / name)
    small = quantize(whole / TEXT, tmp_path / TEXT)
    assert small.stat().st_size < 0.3 * (whole / TEXT).stat().st_size
    spec = EncodersSpec.model_validate_json((whole / "encoders.json").read_bytes()).model_copy(update={"image": None})
    texts = [str(bundle.display(row)["title"]) for row in range(20)]
    vectors = []
    for folder in (whole, tmp_path):
        encoder = QueryEncoders.of(folder, spec).text
        assert encoder is not None
        vectors.append(encoder.encode(texts))
    cosine = np.einsum("nd,nd->n", *vectors)
    assert cosine.min() > 0.97
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4  # they are not the same network


def test_a_fit_that_asks_for_them_leaves_eight_bit_weights(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys import networks
    from recsys.config import load_config

    whole = bundle.path / "onnx" / "text_encoder.onnx"
    monkeypatch.setattr(networks, "exported_encoders", lambda *_, **__: {whole.name: whole})
    monkeypatch.setattr(networks, "export_match_towers", lambda *_: {})
    monkeypatch.setattr(networks, "export_cold_tower", lambda *_, **__: None)
    side = SimpleNamespace(mask=np.ones(1))
    prepared = SimpleNamespace(vectors=SimpleNamespace(text=side, image=side), match=None)
    written = {}
    for asked in ("true", "false"):
        config = load_config(None, [f"search.int8={asked}"])
        files = networks.export_networks(
            prepared, SimpleNamespace(cold=None), config, folder=tmp_path / asked, cache_dir=tmp_path
        )
        written[asked] = files[whole.name].stat().st_size
    assert written["false"] == whole.stat().st_size
    assert written["true"] < 0.3 * written["false"]


def test_a_query_is_placed_where_the_catalog_s_encoder_would_place_it(bundle: Bundle) -> None:
    searcher = Searcher(bundle)
    row = next(row for row in range(len(bundle)) if not bundle.display(row)["description"])
    title = str(bundle.display(row)["title"])
    channel = searcher.listed(SearchQuery(words=title, available_only=False)).of(["words_to_words"])
    best = channel.rows[channel.scores[0].argmax()]
    assert bundle.display(int(best))["title"] == title
    assert channel.scores[0].max() == pytest.approx(1.0, abs=1e-3)
