"""`--lettering` from a shop's folder to the report and the scores that a fit works with."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from features.encoders.catalog import encode_catalog
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.commands.check import check
from recsys.config import load_config
from recsys.listing_scores import judge_listings, lettering_evidence
from recsys.match_fit import with_lettering
from recsys.match_tables import worst_table
from recsys.prepare import read_content

FIRST = ("Amber", "Cobalt", "Ivory", "Scarlet", "Velvet", "Copper", "Walnut", "Golden")
SECOND = ("Lantern", "Harbor", "Orchard", "Kettle", "Compass", "Meadow", "Basket", "Pillow")
WRONG = {5: 26, 26: 5, 40: 17, 17: 40}
"""Items that show each other's picture."""
BLANK = 63


@pytest.fixture(scope="module")
def lettered_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels: 64 of them, on which the name stands, on colors that say nothing."""
    folder = tmp_path_factory.mktemp("lettered") / "shop"
    (folder / "images").mkdir(parents=True)
    titles = [f"{first} {second}" for first, second in product(FIRST, SECOND)]
    rng = np.random.default_rng(2)
    for row in range(len(titles)):
        picture = Image.new("RGB", (120, 120), tuple(rng.integers(170, 256, size=3).tolist()))
        if row != BLANK:
            draw = ImageDraw.Draw(picture)
            for place, word in enumerate(titles[WRONG.get(row, row)].split()):
                draw.text((12, 25 + 35 * place), word, font=ImageFont.load_default(22), fill="black")
        picture.save(folder / "images" / f"{row}.png")
    items = pd.DataFrame({"item_id": [f"i{row}" for row in range(64)], "title": titles})
    items.assign(image=[f"{row}.png" for row in range(64)]).to_csv(folder / "items.csv", index=False)
    return folder


def invoke(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(check)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_listing_whose_picture_spells_another_name_comes_first_with_what_it_spells(
    lettered_shop: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    arguments = (lettered_shop, "--lettering", "--worst", 4, "--cache", cache, "--out", tmp_path)
    output = invoke(*arguments, "--json")
    match = json.loads(output[output.index("{\n") :])["match"]
    assert (match["judged"], match["lettered"]) == (64, 63)
    worst = {listing["item_id"]: listing for listing in match["worst"]}
    assert set(worst) == {"i5", "i26", "i17", "i40"}
    assert worst["i5"]["fits_better"] == {"item_id": "i26", "title": "Scarlet Orchard"}
    assert set(worst["i5"]["lettering"].split(" / ")) >= {"Scarlet", "Orchard"}
    table = invoke(*arguments)
    assert "63 also by the lettering in the picture" in table
    assert "i26: Scarlet Orchard" in table


def test_the_scores_of_a_fit_are_those_of_the_match_model_and_the_lettering_together(
    lettered_shop: Path, cache: Path
) -> None:
    shop = read_shop(lettered_shop, quarantine=Quarantine())
    plain, asked = load_config(None), load_config(None, ["lettering.enabled=true"])
    vectors = encode_catalog(shop, plain.encoders, cache_dir=cache, quarantine=Quarantine())
    match, alone, none = judge_listings(shop, vectors, plain, cache_dir=cache)
    assert none is None
    _, both, evidence = judge_listings(shop, vectors, asked, cache_dir=cache)
    assert evidence is not None
    expected = match.score(vectors).beside(evidence.log_odds, prior=asked.match.prior)
    assert both.score == pytest.approx(expected.score)
    assert both.score[BLANK] == alone.score[BLANK]  # nothing is lettered: nothing changes
    assert (both.score[[*WRONG]] < alone.score[[*WRONG]]).all()
    content = read_content(shop, asked, cache_dir=cache, quarantine=Quarantine())
    assert content.scores.score == pytest.approx(both.score)


def test_a_table_of_scores_says_what_was_read_and_whose_name_it_is(lettered_shop: Path, cache: Path) -> None:
    shop = read_shop(lettered_shop, quarantine=Quarantine())
    asked = load_config(None, ["lettering.enabled=true"])
    evidence = lettering_evidence(shop, asked.lettering, seed=0, cache_dir=cache)
    assert evidence is not None
    n = len(shop.catalog)
    scores = pd.DataFrame({"item_id": list(shop.catalog.items.ids), "title": shop.catalog.title})
    scores["score"] = np.full(n, 0.9, dtype=np.float32)
    assert with_lettering(scores, shop, None, prior=0.95) is scores
    table = with_lettering(scores, shop, evidence, prior=0.95)
    assert table["score"].to_numpy() == pytest.approx(
        MatchScores(np.full(n, 0.9, dtype=np.float32)).beside(evidence.log_odds, prior=0.95).score
    )
    assert table["fits_better"][40] == "i17"
    assert table["lettering"][BLANK] == table["fits_better"][BLANK] == ""
    assert [str(column.header) for column in worst_table(table, 3).columns] == [
        "score", "item_id", "title", "lettering", "fits better",
    ]  # fmt: skip
