"""The graph of a shop's folder: what its reviews say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from structlog.testing import capture_logs

from features.encoders.config import EncoderConfig
from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from graph.build import GraphConfig
from graph.from_shop import graph_of_shop
from graph.knowledge_graph import KnowledgeGraph

WARM = ["So warm in the winter, my feet never freeze", "Keeps me warm on cold winter days"]
LOUD = ["The speakers are loud and the music sounds great", "Great sound, loud music for every party"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Six items whose titles tell nothing; a and b are praised as warm, c and d as loud, of e and f nobody wrote."""
    folder = tmp_path_factory.mktemp("shop")
    pd.DataFrame({"item_id": list("abcdef"), "title": [f"No. {n}" for n in range(6)]}).to_csv(
        folder / "items.csv", index=False
    )
    pd.DataFrame({"user_id": ["u", "u", "v"], "item_id": ["a", "c", "d"]}).to_csv(
        folder / "interactions.csv", index=False
    )
    rows = [("a", WARM[0], 5), ("b", WARM[1], 4), ("c", LOUD[0], 1), ("d", LOUD[1], 2), ("e", "", 5)]
    pd.DataFrame(rows, columns=["item_id", "text", "rating"]).to_csv(folder / "reviews.csv", index=False)
    return read_shop(folder, quarantine=Quarantine())


def graph(shop: Shop, cache: Path, config: GraphConfig, train: Interactions | None = None) -> KnowledgeGraph:
    return graph_of_shop(
        shop,
        shop.interactions if train is None else train,
        {},
        config,
        encoders=EncoderConfig(device="cpu"),
        cache_dir=cache,
        quarantine=Quarantine(),
    )


def pairs(built: KnowledgeGraph, edge_type: tuple[str, str, str]) -> set[tuple[str, str]]:
    source, _, target = edge_type
    edges = built.edges[edge_type]
    names = built.vocabularies[source].ids, built.vocabularies[target].ids
    return {(names[0][a], names[1][b]) for a, b in zip(edges.src.tolist(), edges.dst.tolist(), strict=True)}


def test_items_are_alike_by_what_buyers_wrote_of_them(shop: Shop, tmp_path: Path) -> None:
    config = GraphConfig(price_bands=0, look_alikes=("reviews",), review_neighbors=1)
    built = graph(shop, tmp_path, config)
    assert pairs(built, ("item", "alike:reviews", "item")) == {("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")}


def test_mean_ratings_become_bands_and_what_nobody_rated_has_none(shop: Shop, tmp_path: Path) -> None:
    built = graph(shop, tmp_path, GraphConfig(price_bands=0, rating_bands=2, min_shared=1))
    rated = pairs(built, ("item", "has", "item:rating"))
    assert rated == {("c", "1 to 4"), ("d", "1 to 4"), ("a", "4 to 5"), ("b", "4 to 5"), ("e", "4 to 5")}


def test_bands_of_ratings_take_the_name_of_no_attribute_that_items_have(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(shop.path, folder)
    pd.read_csv(folder / "items.csv").assign(rating=list("PGPGPG")).to_csv(folder / "items.csv", index=False)
    own = read_shop(folder, quarantine=Quarantine())
    with pytest.raises(InputError, match="rating_bands must be 0 where items have an attribute 'rating' of their own"):
        graph(own, tmp_path, GraphConfig(price_bands=0, rating_bands=2, min_shared=1))
    kept = graph(own, tmp_path, GraphConfig(price_bands=0, min_shared=1))
    assert set(kept.vocabularies["item:rating"].ids) == {"P", "G"}


def test_reviews_that_are_asked_for_and_not_there_are_told(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(shop.path, folder, ignore=shutil.ignore_patterns("reviews.csv"))
    silent = read_shop(folder, quarantine=Quarantine())
    with capture_logs() as told:
        graph(silent, tmp_path, GraphConfig(price_bands=0, rating_bands=2))
    assert [entry["log_level"] for entry in told if entry["event"].startswith("no reviews")] == ["warning"]


def test_without_a_wish_for_them_reviews_are_not_read(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.from_shop.read_reviews", lambda *args, **named: pytest.fail("read"))
    built = graph(shop, tmp_path, GraphConfig(price_bands=0))
    assert not any("reviews" in name or "rating" in name for _, name, _ in built.edges)


def test_a_review_of_a_held_out_pair_makes_nobody_alike(shop: Shop, tmp_path: Path) -> None:
    table = pd.read_csv(shop.path / "reviews.csv").assign(user_id=["u", "", "", "v", ""])
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("items.csv", "interactions.csv"):
        (folder / name).write_bytes((shop.path / name).read_bytes())
    table.to_csv(folder / "reviews.csv", index=False)
    signed = read_shop(folder, quarantine=Quarantine())
    train = signed.interactions.where(np.array([True, True, False]))  # (v, d) is held out
    config = GraphConfig(price_bands=0, look_alikes=("reviews",), review_neighbors=2)
    found = pairs(graph(signed, tmp_path, config, train), ("item", "alike:reviews", "item"))
    assert found
    assert not any("d" in pair for pair in found)
