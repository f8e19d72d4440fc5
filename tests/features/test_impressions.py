from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.impressions import Impressions, read_impressions
from features.shop.shop import read_shop

HEADER = "request_id,user_id,item_id,position,propensity,policy,clicked,timestamp\n"


def read(folder: Path, table: str, toml: str = "") -> tuple[Impressions, Quarantine]:
    (folder / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    (folder / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    (folder / "impressions.csv").write_text(table)
    (folder / "shop.toml").write_text(toml)
    quarantine = Quarantine()
    found = read_impressions(read_shop(folder, quarantine=quarantine), quarantine=quarantine)
    assert found is not None
    return found, quarantine


def test_slots_are_read_in_order(tmp_path: Path) -> None:
    rows = "r1,u,b,0,0.5,old,1,2024-01-01\nr1,u,a,1,0.25,old,0,2024-01-01\nr2,stranger,a,0,1,,true,2024-01-02\n"
    found, quarantine = read(tmp_path, HEADER + rows)
    assert quarantine.total == 0
    assert (found.requests.ids, found.users.ids, found.items.ids) == (("r1", "r2"), ("u",), ("a", "b"))
    assert found.request_idx.tolist() == [0, 0, 1]
    assert found.user_idx.tolist() == [0, 0, -1]
    assert found.item_idx.tolist() == [1, 0, 0]
    assert found.position.tolist() == [0, 1, 0]
    assert found.propensity.tolist() == [0.5, 0.25, 1]
    assert found.policy.tolist() == ["old", "old", "logged"]
    assert found.clicked.tolist() == [True, False, True]
    assert found.timestamp is not None
    assert found.timestamp.tolist() == [1704067200, 1704067200, 1704153600]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("r,u,zzz,0,1,p,0,2024-01-01", "item_id is not in the item table"),
        ("r,u,a,-1,1,p,0,2024-01-01", "position"),
        ("r,u,a,0.5,1,p,0,2024-01-01", "position"),
        ("r,u,a,,1,p,0,2024-01-01", "position"),
        ("r,u,a,0,0,p,0,2024-01-01", "propensity"),
        ("r,u,a,0,1.01,p,0,2024-01-01", "propensity"),
        ("r,u,a,0,NaN,p,0,2024-01-01", "propensity"),
        ("r,u,a,0,1,p,2,2024-01-01", "clicked"),
        ("r,u,a,0,1,p,,2024-01-01", "clicked"),
        ("r,u,a,0,1,p,0,yesterday", "timestamp"),
        (",u,a,0,1,p,0,2024-01-01", "request_id"),
    ],
)
def test_a_slot_that_cannot_be_judged_is_refused(tmp_path: Path, row: str, rule: str) -> None:
    found, quarantine = read(tmp_path, HEADER + row + "\nr9,u,a,0,1,p,0,2024-01-01\n")
    assert (len(found), found.requests.ids) == (1, ("r9",))
    [refusal] = quarantine.refusals
    assert (refusal.file, refusal.row) == ("impressions.csv", 0)
    assert refusal.rule.startswith(rule)


def test_without_requests_each_slot_is_its_own_and_a_shop_may_have_no_log(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "item_id,position,propensity,clicked\na,0,1,0\nzzz,0,1,0\nb,0,1,1\n")
    assert found.request_idx.tolist() == [0, 1]
    assert found.requests.ids == ("0", "2")
    assert found.timestamp is None
    (tmp_path / "impressions.csv").unlink()
    assert read_impressions(read_shop(tmp_path, quarantine=Quarantine()), quarantine=Quarantine()) is None


def test_a_log_without_propensities_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"impressions\.csv must have a column 'propensity'"):
        read(tmp_path, "item_id,position,clicked\na,0,1\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("propensity", [0.0]),
        ("propensity", [np.nan]),
        ("item_idx", [2]),
        ("user_idx", [-2]),
        ("clicked", [True, False]),
    ],
)
def test_the_type_itself_refuses_what_no_log_can_hold(tmp_path: Path, field: str, value: list[float]) -> None:
    found, _ = read(tmp_path, "item_id,position,propensity,clicked\na,0,1,0\n")
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(found, **{field: np.array(value)})


@pytest.mark.real_data
def test_a_real_log_is_read_through_a_column_mapping(real_data: Path, tmp_path: Path) -> None:
    log = pd.read_parquet(real_data / "open-bandit" / "impressions.parquet")
    men = log[log["campaign"] == "men"]
    items = pd.read_parquet(real_data / "open-bandit" / "items-men.parquet")
    items.assign(title="").to_parquet(tmp_path / "items.parquet")
    men.to_parquet(tmp_path / "impressions.parquet")
    (tmp_path / "shop.toml").write_text(
        '[columns.impressions]\npropensity = "propensity_score"\nclicked = "click"\npolicy = "behavior_policy"\n'
    )
    quarantine = Quarantine()
    found = read_impressions(read_shop(tmp_path, quarantine=quarantine), quarantine=quarantine)
    assert found is not None
    assert (len(found), quarantine.total) == (len(men), 0)
    assert found.clicked.sum() == men["click"].sum()
    assert set(found.policy.tolist()) == {"random", "bts"}
    np.testing.assert_allclose(found.propensity, men["propensity_score"])
    assert [found.items[idx] for idx in found.item_idx[:50].tolist()] == men["item_id"].astype(str).tolist()[:50]
