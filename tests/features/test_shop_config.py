from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import InputError
from features.shop.config import EventRule, ShopConfig, read_shop_config


def config(folder: Path, toml: str) -> ShopConfig:
    (folder / "shop.toml").write_text(toml, encoding="utf-8")
    return read_shop_config(folder)


def test_without_a_file_the_documented_defaults_hold(tmp_path: Path) -> None:
    found = read_shop_config(tmp_path)
    weights = {
        kind: found.rule(kind).weight for kind in ("view", "click", "like", "cart", "purchase", "review", "poke")
    }
    assert weights == {"view": 1, "click": 1, "like": 3, "cart": 3, "purchase": 5, "review": 3, "poke": 1}
    assert found.rule("rating") == EventRule(weight=3, min_value=4)
    assert found.timezone == "UTC"


def test_a_rule_keeps_the_default_of_what_it_does_not_say(tmp_path: Path) -> None:
    found = config(tmp_path, "[events]\nRating = 2\nview = 0\nstay = {min_value = 30}\n")
    assert found.rule("rating") == EventRule(weight=2, min_value=4)
    assert found.rule("view").weight == 0
    assert found.rule("stay") == EventRule(weight=1, min_value=30)
    assert found.rule("purchase").weight == 5


def test_a_threshold_can_be_taken_away(tmp_path: Path) -> None:
    assert config(tmp_path, "[events]\nrating = {min_value = -inf}\n").rule("rating").min_value is None


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("nmae = 'x'", "nmae"),
        ("timezone = 'Mars/Olympus'", "timezone"),
        ("timezone = '../../etc/passwd'", "timezone"),
        ("[events]\nview = -1", "events.view.weight"),
        ("[events]\nview = nan", "events.view.weight"),
        ("[events]\nview = 'much'", "events.view"),
        ("[events]\nview = {min_value = nan}", "min_value"),
        ("[columns.interactions]\nuser = 'uid'", "'user' is none of them"),
        ("[columns.items]\nitem_id = 'sku'\ntitle = 'sku'", "mapped once"),
        ("[columns.products]\nitem_id = 'sku'", "products"),
        ("name = ", "TOML"),
    ],
)
def test_a_mistake_is_an_error_that_names_file_and_field(tmp_path: Path, toml: str, named: str) -> None:
    with pytest.raises(InputError, match=r"shop\.toml") as caught:
        config(tmp_path, toml)
    assert named in str(caught.value)
