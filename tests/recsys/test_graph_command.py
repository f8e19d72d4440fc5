"""`recsys graph` on a small shop folder, from building to the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from features.errors import InputError
from graph.export import load_hetero
from recsys.cli import build_app

ITEMS = "item_id,title,brand,category\n" + "".join(
    f"m{i},Thing {i},{'Acme' if i < 3 else 'Bolt'},{'Home > Mugs' if i % 2 else 'Home'}\n" for i in range(6)
)
EVENTS = "user_id,item_id,event_type,timestamp\n" + "".join(
    f"u{u},m{i},purchase,2024-05-0{1 + u}T10:0{i}:00Z\n" for u in range(4) for i in (u, u + 1)
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    (folder / "items.csv").write_text(ITEMS)
    (folder / "interactions.csv").write_text(EVENTS)
    (folder / "triples.csv").write_text("head,relation,tail\nm0,made_in,Berlin\nm1,,Berlin\n")
    (folder / "shop.toml").write_text('[attributes]\npaths = ["category"]\n')
    Image.new("RGB", (20, 20), "red").save(folder / "images" / "m0.jpg")
    return folder


def ended(*arguments: object) -> Result:
    with capture_logs():
        done = CliRunner().invoke(build_app(), ["graph", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def run(*arguments: object) -> str:
    return ended(*arguments).stdout


def told(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_a_shop_folder_and_its_saved_graph_tell_the_same(shop: Path, tmp_path: Path) -> None:
    settings = ("--set", "graph.trees=true", "--set", "graph.together=3")
    run("build", shop, "--out", tmp_path / "g", *settings)
    assert told("stats", tmp_path / "g") == told("stats", shop, *settings)
    stats = told("stats", tmp_path / "g")
    assert stats["nodes"]["entity"] == {"nodes": 1, "isolated": 0}
    assert stats["edges"]["user -purchase-> item"]["edges"] == 8
    assert stats["edges"]["item:category -under-> item:category"]["edges"] == 1
    table = run("stats", tmp_path / "g")
    assert "item -together:purchase-> item" in table


def test_neighbors_and_paths_are_told_by_name(shop: Path) -> None:
    near = told("neighbors", shop, "m0")
    assert [one["name"] for one in near["item -has-> item:brand"]] == ["Acme"]
    assert [one["name"] for one in near["item -rev_purchase-> user"]] == ["u0"]
    assert [one["name"] for one in near["item -fact:made_in-> entity"]] == ["Berlin"]
    assert set(told("neighbors", shop, "m0", "--relation", "has")) == {
        "item -has-> item:brand",
        "item -has-> item:category",
    }
    shown = run("neighbors", shop, "m0")
    assert "Acme" in shown
    assert "item <-purchase- user: 1\n" in shown
    assert "title" not in shown, "none of these nodes has one"
    (path, *_) = told("path", shop, "user/u0", "m2")
    assert path["nodes"][0]["name"] == "u0"
    assert path["nodes"][-1]["title"] == "Thing 2"
    assert len(path["steps"]) == len(path["nodes"]) - 1 == 3
    assert "Thing 2" in run("path", shop, "user/u0", "m2", "-k", 1)


def test_of_many_neighbors_the_heaviest_are_shown_with_their_number_and_what_is_mutual_once(shop: Path) -> None:
    asked = ("neighbors", shop, "m1", "-k", 1, "--set", "graph.together=3", "--set", "graph.shrinkage=0")
    shown, listed = run(*asked), told(*asked)
    assert "item -together:purchase- item: 1 of 2\n" in shown
    assert [kind for kind in listed if "together" in kind] == ["item -together:purchase-> item"]


def test_a_day_of_events_is_added(shop: Path, tmp_path: Path) -> None:
    run("build", shop, "--out", tmp_path / "g")
    day = tmp_path / "day.csv"
    day.write_text(
        "user_id,item_id,event_type,event_value,timestamp\nnew,m5,purchase,,2024-06-01T00:00:00Z\n"
        "new,gone,purchase,,2024-06-01T00:00:00Z\nnew,m4,rating,2,2024-06-01T00:00:00Z\n"
    )
    added = ended("add", tmp_path / "g", day)
    assert added.stdout == "1 events added, 1 new users, 1 rating events left out by rule\n"
    assert added.stderr == "refused: 1 x item_id is not in the item table, first day.csv, row 1: 'gone'\n"
    assert [one["name"] for one in told("neighbors", tmp_path / "g", "user/new")["user -purchase-> item"]] == ["m5"]


def test_what_a_shop_holds_that_cannot_be_used_is_told_with_its_place(shop: Path, tmp_path: Path) -> None:
    for done in (ended("build", shop, "--out", tmp_path / "g"), ended("stats", shop, "--json")):
        assert done.stderr == "refused: 1 x relation is missing, first triples.csv, row 1: None\n"


@pytest.mark.parametrize("to", ["parquet", "graphml", "ntriples", "hetero"])
def test_every_format_is_written(shop: Path, tmp_path: Path, to: str) -> None:
    out = run("export", shop, "--to", to, "--out", tmp_path / "out")
    assert "bytes" in out
    if to == "hetero":
        assert load_hetero(tmp_path / "out")["item"].num_nodes == 6


def test_the_picture_has_the_items_pictures(shop: Path, tmp_path: Path) -> None:
    run("picture", shop, "m1", "--out", tmp_path / "a.svg")
    run("build", shop, "--out", tmp_path / "g", "--set", "graph.together=3")
    run("picture", tmp_path / "g", "m1", "--out", tmp_path / "b.svg", "--shop", shop)
    svg = (tmp_path / "b.svg").read_text()
    assert "Thing 1" in svg
    assert "together · purchase" in svg


def test_mistakes_are_named(shop: Path, tmp_path: Path) -> None:
    run("build", shop, "--out", tmp_path / "g")
    with pytest.raises(InputError, match="is a saved graph: settings and --look-alikes are for shop folders"):
        run("stats", tmp_path / "g", "--set", "graph.idf=true")
    with pytest.raises(InputError, match="no node is called 'm99'"):
        run("neighbors", shop, "m99")
    with pytest.raises(InputError, match=r"titles hold it: item/m0 \(Thing 0\), .* and 3 more"):
        run("neighbors", shop, "thing")
    with pytest.raises(InputError, match=r"no edge of relation 'purchaze', only of .*; did you mean 'purchase'\?"):
        run("neighbors", shop, "m0", "--relation", "purchaze")
    with pytest.raises(InputError, match="--to must be parquet, graphml, ntriples or hetero, got 'excel'"):
        run("export", shop, "--to", "excel", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="a path needs two different nodes"):
        run("path", shop, "m1", "m1")
