import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from features.synthetic import album
from features.synthetic import assortment as assort
from features.synthetic.pictures import Look, draw
from features.synthetic.world import FACETS, plant_world
from features.synthetic.write import default_users, read_request, write_shop


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordy") / "shop"
    assert write_shop(folder, n_items=200, n_users=20, seed=1, pictures=False)
    return folder


def test_the_same_arguments_give_the_same_bytes_drawn_by_helpers_or_alone(
    synthetic_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(album, "ALONE", 10_000)
    assert write_shop(tmp_path / "again", n_items=240, n_users=300, seed=7)
    assert contents(tmp_path / "again") == contents(synthetic_shop)


def test_the_folder_holds_the_shop_its_pictures_and_the_truth(synthetic_shop: Path) -> None:
    assert set(contents(synthetic_shop)) == {
        "items.parquet",
        "users.parquet",
        "interactions.parquet",
        "images.zip",
        "shop.toml",
        "truth/truth.json",
        "truth/items.parquet",
        "truth/users.parquet",
    }
    items, users, events = (
        pd.read_parquet(synthetic_shop / f"{name}.parquet") for name in ("items", "users", "interactions")
    )
    assert items.columns.tolist() == [
        *("item_id", "title", "description", "image", "price", "available", "category", "brand", "material")
    ]
    assert (len(items), len(users)) == (240, 300)
    assert items.item_id[7] == "sku-00007"
    assert items.item_id.is_unique
    assert set(events.item_id) <= set(items.item_id)
    assert set(events.user_id) <= set(users.user_id)
    assert events.timestamp.is_monotonic_increasing
    assert (~items.available).sum() == 7
    assert {len(path) for path in items.category} == {2}
    with zipfile.ZipFile(synthetic_shop / "images.zip") as archive:
        assert archive.namelist() == items.image.tolist()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert Image.open(io.BytesIO(archive.read("sku-00000.jpg"))).size == (256, 256)


def test_it_reads_as_a_shop_with_nothing_refused(synthetic_shop: Path) -> None:
    quarantine = Quarantine()
    shop = read_shop(synthetic_shop, quarantine=quarantine)
    assert quarantine.total == 0
    assert shop.name == "The Planted Shop"
    assert len(shop.catalog) == 240
    assert shop.interactions.timestamp is not None
    assert shop.images is not None
    assert shop.images.names() == set(shop.catalog.image.tolist())
    assert shop.catalog.attributes.names() == ["brand", "category", "material"]
    assert {"Kitchen", "Kitchen > Mugs"} <= set(shop.catalog.attributes.only("category").value)
    assert shop.users_attributes.names() == ["age_group", "country"]
    weight_of = dict(zip(shop.interactions.event_type, shop.interactions.weight, strict=True))
    assert weight_of == {"view": 1, "cart": 3, "purchase": 5}


def test_the_truth_says_what_was_planted(synthetic_shop: Path) -> None:
    truth = json.loads((synthetic_shop / "truth" / "truth.json").read_text())
    facts = pd.read_parquet(synthetic_shop / "truth" / "items.parquet")
    items = pd.read_parquet(synthetic_shop / "items.parquet")
    tastes = pd.read_parquet(synthetic_shop / "truth" / "users.parquet")
    world = plant_world(n_items=240, n_users=300, seed=7)

    assert truth["mismatched"] == facts.item_id[facts.mismatched].tolist()
    assert len(truth["mismatched"]) == 12
    assert (facts.picture_of[facts.mismatched] != facts.item_id[facts.mismatched]).all()
    assert (facts.picture_of[~facts.mismatched] == facts.item_id[~facts.mismatched]).all()
    assert truth["cold"] == facts.item_id[facts.cold].tolist()
    assert len(truth["cold"]) == 19
    assert truth["sold_out"] == items.item_id[~items.available].tolist()
    assert facts.category.tolist() == [path[1] for path in items.category]
    for attribute, least in (("brand", 0.85), ("material", 0.75)):
        told = items[attribute].notna()
        assert least < told.mean() < 1
        assert (items[attribute][told] == facts[attribute][told]).all()
    for facet, values in FACETS.items():
        assert truth["facets"][facet] == list(values)
        assert set(facts[facet]) <= set(values)
        assert np.stack(tastes[facet].tolist()) == pytest.approx(world.tastes[facet])


def test_a_listing_shows_the_product_that_the_truth_names(synthetic_shop: Path) -> None:
    facts = pd.read_parquet(synthetic_shop / "truth" / "items.parquet").set_index("item_id", drop=False)
    categories = FACETS["category"]
    with zipfile.ZipFile(synthetic_shop / "images.zip") as archive:
        for row in (*facts[facts.mismatched].itertuples(), *facts[:5].itertuples()):
            shown = facts.loc[row.picture_of]
            look = Look(
                categories.index(shown.category),
                assort.COLORS.index(shown.color),
                assort.PATTERNS.index(shown.pattern),
                assort.BRANDS.index(shown.brand),
                (7, 5, int(shown.item_id.removeprefix("sku-"))),
            )
            assert archive.read(f"{row.item_id}.jpg") == draw(look)


def test_a_complete_shop_is_left_as_it_is(wordy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in wordy.rglob("*")}
    assert not write_shop(wordy, n_items=200, n_users=20, seed=1, pictures=False)
    assert {path: path.stat().st_mtime_ns for path in wordy.rglob("*")} == before


def test_a_shop_without_pictures_names_none(wordy: Path) -> None:
    assert not (wordy / "images.zip").exists()
    assert "image" not in pd.read_parquet(wordy / "items.parquet").columns
    truth = json.loads((wordy / "truth" / "truth.json").read_text())
    assert truth["visible"]["picture"] == truth["mismatched"] == []


def test_another_shop_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    write_shop(out, n_items=200, n_users=5, seed=1, pictures=False)
    with pytest.raises(
        InputError, match=r"other arguments \(n_items 200, n_users 5, seed 1, pictures False\).*--force"
    ):
        write_shop(out, n_items=200, n_users=5, seed=2, pictures=False)
    assert write_shop(out, n_items=200, n_users=5, seed=2, pictures=False, force=True)
    found = read_request(out)
    assert found is not None
    assert found["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize("force", [False, True])
def test_other_files_are_never_overwritten(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="new or empty folder"):
        write_shop(tmp_path, n_items=200, pictures=False, force=force)
    with pytest.raises(InputError, match=r"thesis\.txt is a file"):
        write_shop(tmp_path / "thesis.txt", n_items=200, pictures=False, force=force)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_and_a_missing_parent_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write_shop(tmp_path / "empty", n_items=200, n_users=2, pictures=False)
    assert write_shop(tmp_path / "a" / "b", n_items=200, n_users=2, pictures=False)
    assert (tmp_path / "a" / "b" / "items.parquet").is_file()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"n_items": 199}, "at least 200 items, 199"),
        ({"n_items": 1_000_001}, "above 1,000,000 items.*without pictures, 1,000,001"),
        ({"n_items": 200, "n_users": 0}, "at least 1 user, 0"),
        ({"n_items": 200, "seed": -1}, "seed is 0 or more, -1"),
    ],
)
def test_sizes_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, int], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        write_shop(tmp_path / "shop", **arguments)
    assert not (tmp_path / "shop").exists()


def test_an_interrupted_run_goes_on_where_it_was(
    synthetic_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Look] = []

    def draw_some(look: Look) -> bytes:
        if len(drawn) == 170:
            raise KeyboardInterrupt
        drawn.append(look)
        return draw(look)

    monkeypatch.setattr(album, "ALONE", 10_000)
    monkeypatch.setattr(album, "draw", draw_some)
    out = tmp_path / "shop"
    with pytest.raises(KeyboardInterrupt):
        write_shop(out, n_items=240, n_users=300, seed=7)
    assert not out.exists()

    drawn.clear()
    assert write_shop(out, n_items=240, n_users=300, seed=7)
    assert len(drawn) == 240 - 150  # three chunks of fifty were whole
    assert contents(out) == contents(synthetic_shop)
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_leftovers_of_other_arguments_are_not_mixed_in(tmp_path: Path, wordy: Path) -> None:
    building = tmp_path / ".shop.building"
    (building / "chunks").mkdir(parents=True)
    (building / "request.json").write_text('{"n_items": 5}')
    (building / "stray.txt").write_text("old")
    write_shop(tmp_path / "shop", n_items=200, n_users=20, seed=1, pictures=False)
    assert contents(tmp_path / "shop") == contents(wordy)


def test_users_come_in_proportion_up_to_a_cap() -> None:
    assert [default_users(n) for n in (200, 800, 1_000_000)] == [375, 1500, 50_000]
