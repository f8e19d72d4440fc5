from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from tests.features.shop_tables import EVENTS, ITEMS, Read, Rows, put, reading, refusals


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return reading(tmp_path)


def triples(shop: Shop) -> list[tuple[str, str, str]]:
    events = shop.interactions
    return [
        (events.users[user], events.items[item], kind)
        for user, item, kind in zip(
            events.user_idx.tolist(), events.item_idx.tolist(), events.event_type.tolist(), strict=True
        )
    ]


def facts(shop: Shop) -> list[tuple[int, str, str]]:
    found = shop.catalog.attributes
    return list(zip(found.row_idx.tolist(), found.name.tolist(), found.value.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_the_same_shop_comes_out_of_each_kind_of_table(read: Read, kind: str) -> None:
    shop, quarantine = read(ITEMS, EVENTS, [{"user_id": "w", "age": 30}, {"user_id": "v", "age": 40}], kind=kind)
    assert quarantine.total == 0
    assert shop.catalog.items.ids == ("a", "b", "c")
    assert shop.catalog.title.tolist() == ["Ant", "Bee", "Cat"]
    np.testing.assert_array_equal(shop.catalog.price, [1.5, np.nan, 3.0])
    assert facts(shop) == [
        (0, "brand", "Acme"),
        (0, "tags", "x"),
        (0, "tags", "y"),
        (0, "category", "Top"),
        (0, "category", "Top > Sub"),
        (1, "category", "Top"),
        (2, "brand", "Bolt"),
        (2, "tags", "y"),
    ]
    assert shop.interactions.users.ids == ("w", "v", "u")
    assert triples(shop) == [("u", "b", "view"), ("v", "a", "purchase"), ("u", "a", "like")]
    assert shop.interactions.weight.tolist() == [1, 5, 3]
    assert shop.interactions.timestamp is None
    users = shop.users_attributes
    assert list(zip(users.row_idx.tolist(), users.value.tolist(), strict=True)) == [(0, "30"), (1, "40")]


def test_items_without_an_id_or_with_one_twice_are_refused(read: Read) -> None:
    items = [
        {"item_id": "a", "title": "first"},
        {"item_id": None, "title": "nobody"},
        {"item_id": " a ", "title": "second"},
        {"item_id": " ", "title": "blank"},
        {"item_id": "ü", "title": None},
    ]
    shop, quarantine = read(items)
    assert dict(zip(shop.catalog.items.ids, shop.catalog.title.tolist(), strict=True)) == {"a": "first", "ü": ""}
    assert refusals(quarantine) == [
        ("items.jsonl", 1, "item_id is missing"),
        ("items.jsonl", 3, "item_id is missing"),
        ("items.jsonl", 2, "item_id is there already"),
    ]


def test_a_bad_value_is_refused_and_its_item_kept(read: Read) -> None:
    items = [
        {"item_id": "a", "title": "A", "price": -1, "available": "maybe"},
        {"item_id": "b", "title": "B", "price": "cheap", "available": "no"},
        {"item_id": "c", "title": "C", "price": float("inf"), "available": 0},
        {"item_id": "d", "title": "D", "price": float("nan"), "available": True},
        {"item_id": "e", "title": "E", "price": "2.5", "available": None},
    ]
    shop, quarantine = read(items)
    np.testing.assert_array_equal(shop.catalog.price, [np.nan] * 4 + [2.5])
    assert shop.catalog.available.tolist() == [True, False, False, True, True]
    assert refusals(quarantine) == [
        *(("items.jsonl", row, "price must be a number >= 0") for row in range(4)),
        ("items.jsonl", 0, "available must be true or false"),
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_blank_cell_is_absent_and_no_bad_value(read: Read, kind: str) -> None:
    rows = [{"item_id": f"i{row}", "title": "t", "price": cell} for row, cell in enumerate(["1.5", "  ", "", "cheap"])]
    shop, quarantine = read(rows, kind=kind)
    assert shop.catalog.price.tolist() == pytest.approx([1.5, np.nan, np.nan, np.nan], nan_ok=True)
    assert [row for _, row, _ in refusals(quarantine)] == [3]


def test_events_that_cannot_be_used_are_refused_each_for_its_first_fault(read: Read) -> None:
    good = {"user_id": "u", "item_id": "a", "event_type": "rating", "event_value": 5, "timestamp": 1_700_000_000}
    changes: Rows = [
        {},
        {"user_id": None, "item_id": "nowhere"},
        {"item_id": ""},
        {"item_id": "nowhere"},
        {"event_type": None},
        {"timestamp": "soon"},
        {"timestamp": None},
        {"timestamp": 1_700_000_000_000},
        {"event_value": float("nan")},
        {"event_value": "good"},
        {"event_value": None},
        {"event_value": None, "event_type": "view"},
        {"event_type": " Beside:view"},
        {"event_type": "fact:owns"},
    ]
    shop, quarantine = read(ITEMS, [good | change for change in changes])
    assert triples(shop) == [("u", "a", "rating"), ("u", "a", "view")]
    by_row = {refusal.row: (refusal.rule, refusal.value) for refusal in quarantine.refusals}
    time_rule = "timestamp must be a time from 1990 to 2099, in one unit for all rows"
    assert by_row == {
        1: ("user_id is missing", "None"),
        2: ("item_id is missing", "''"),
        3: ("item_id is not in the item table", "'nowhere'"),
        4: ("event_type is missing", "None"),
        5: (time_rule, "'soon'"),
        6: (time_rule, "None"),
        7: (time_rule, "1700000000000"),
        8: ("event_value must be a finite number", "nan"),
        9: ("event_value must be a finite number", "'good'"),
        10: ("event_value is missing, and events of this type are judged by it", "None"),
        12: ("event_type must not begin with beside: or fact:", "' Beside:view'"),
        13: ("event_type must not begin with beside: or fact:", "'fact:owns'"),
    }
    assert quarantine.total == len(by_row)


def test_events_left_out_by_rule_are_counted_and_not_refused(read: Read) -> None:
    events = [{"user_id": f"u{n}", "item_id": "a", "event_type": "Rating", "event_value": n} for n in range(1, 6)]
    events.append({"user_id": "u6", "item_id": "b", "event_type": "impression", "event_value": None})
    shop, quarantine = read(ITEMS, events, toml="[events]\nimpression = 0")
    assert triples(shop) == [("u4", "a", "rating"), ("u5", "a", "rating")]
    assert shop.reading.left_out == {"rating": 3, "impression": 1}
    assert quarantine.total == 0
    assert shop.interactions.users.ids == ("u1", "u2", "u3", "u4", "u5", "u6")


def test_without_event_types_all_events_are_of_the_default_type(read: Read) -> None:
    events = [{"user_id": "u", "item_id": "a", "event_value": value} for value in (1, 5)]
    shop, _ = read(ITEMS, events)
    assert [kind for _, _, kind in triples(shop)] == ["interaction"] * 2
    assert "event_value is not used" in shop.reading.remarks[0]
    shop, _ = read(ITEMS, events, toml='default_event_type = "rating"')
    assert (triples(shop), shop.reading.left_out) == ([("u", "a", "rating")], {"rating": 1})


def test_columns_are_mapped_and_unknown_ones_named(read: Read) -> None:
    items = [{"sku": 7, "name": "Seven", "title": "not this one", "hue": "red"}]
    events = [{"customer": 1, "sku": 7, "at": "2024-07-01T14:00:00", "position": 3}]
    toml = """
    name = "Mapped"
    timezone = "Europe/Berlin"
    columns.items = {item_id = "sku", title = "name", color = "hue"}
    columns.interactions = {user_id = "customer", item_id = "sku", timestamp = "at"}
    """
    shop, _ = read(items, events, toml=toml)
    assert (shop.name, shop.catalog.items.ids, shop.catalog.title.tolist()) == ("Mapped", ("7",), ["Seven"])
    assert facts(shop) == [(0, "color", "red")]
    assert triples(shop) == [("1", "7", "interaction")]
    assert shop.interactions.timestamp is not None
    assert shop.interactions.timestamp.tolist() == [1719835200.0]  # noon in UTC
    assert shop.reading.ignored_columns == {"interactions": ["position"]}
    assert "another column" in shop.reading.attribute_columns["items"]["title"]


def test_users_without_an_id_or_twice_are_refused(read: Read) -> None:
    users = [{"user_id": "u", "age": 1}, {"user_id": None, "age": 2}, {"user_id": "u", "age": 3}]
    shop, quarantine = read(ITEMS, EVENTS, users)
    assert shop.interactions.users.ids == ("u", "v")
    assert shop.users_attributes.value.tolist() == ["1"]
    assert [(file, row) for file, row, _ in refusals(quarantine)] == [("users.jsonl", 1), ("users.jsonl", 2)]


def test_without_events_there_are_none_and_users_stay(read: Read) -> None:
    shop, _ = read(ITEMS, None, [{"user_id": "u"}])
    assert (len(shop.interactions), shop.interactions.users.ids) == (0, ("u",))
    shop, _ = read(ITEMS, [{"user_id": "u", "item_id": "nowhere"}])
    assert len(shop.interactions) == 0


def test_a_shop_without_a_usable_item_is_an_error_that_says_so(read: Read) -> None:
    with pytest.raises(InputError, match=r"no usable item: 2 rows read, every one refused; 2 x item_id is missing"):
        read([{"item_id": None, "title": "x"}, {"item_id": "", "title": "y"}])


def test_what_is_no_shop_is_an_error_that_says_what_is_missing(tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_shop(folder, quarantine=Quarantine())
        return str(caught.value)

    assert "must be a folder" in message(tmp_path / "nowhere")
    assert "items.parquet, items.csv or items.jsonl must be there" in message(tmp_path)
    (tmp_path / "items.csv").write_text("item_id,title\n")
    assert "has no usable item: the table has no rows" in message(tmp_path)
    (tmp_path / "items.csv").unlink()
    put(tmp_path, "items", [{"item_id": "a", "name": "x"}])
    assert "must have a column 'title', it has item_id, name; " in message(tmp_path)
    assert '[columns.items] title = "..."' in message(tmp_path)
    put(tmp_path, "items", [{"item_id": "a", "Titel": "x"}])
    assert '[columns.items] title = "Titel"' in message(tmp_path)
    (tmp_path / "items.jsonl").unlink()
    (tmp_path / "items.csv").write_text("item_id;title\na;x\n")
    assert "must have commas between its cells, its first line has ';': 'item_id;title'" in message(tmp_path)
    (tmp_path / "items.csv").unlink()
    put(tmp_path, "items", [{"item_id": "a", "name": "x"}])
    (tmp_path / "shop.toml").write_text('columns.items.title = "nmae"')
    assert "'nmae'" in message(tmp_path)
    (tmp_path / "shop.toml").unlink()
    put(tmp_path, "items", ITEMS)
    put(tmp_path, "interactions", [{"user_id": "u"}])
    assert "interactions.jsonl must have a column 'item_id'" in message(tmp_path)


def test_the_fingerprint_follows_every_file(read: Read, tmp_path: Path) -> None:
    def fingerprint() -> str:
        return read_shop(tmp_path, quarantine=Quarantine()).fingerprint

    read(ITEMS, EVENTS)
    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    for change in (
        lambda: put(tmp_path, "interactions", EVENTS[:2]),
        lambda: put(tmp_path, "items", ITEMS[::-1]),
        lambda: (tmp_path / "shop.toml").write_text('name = "x"'),
        (tmp_path / "images").mkdir,
        lambda: (tmp_path / "images" / "a.jpg").write_bytes(b"x"),
    ):
        change()
        seen.append(fingerprint())
    assert len(set(seen)) == len(seen) - 1  # an empty folder of pictures changes nothing


EVENT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u", "v", "", None, 3]),
        "item_id": st.sampled_from(["a", "b", "zzz", None]),
        "event_type": st.sampled_from(["view", "rating", "skip", None]),
        "event_value": st.sampled_from([1, 4, 5.5, None, float("nan"), "x"]),
        "timestamp": st.sampled_from([1_700_000_000, "2024-01-01", None, -1]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENT, max_size=12))
def test_every_row_is_taken_refused_or_left_out_as_a_row_by_row_reading_says(read: Read, events: Rows) -> None:
    shop, quarantine = read(ITEMS, events or [{"user_id": "u", "item_id": "a"}], toml="[events]\nskip = 0")
    if not events:
        return
    timed = any(row["timestamp"] is not None for row in events)
    taken, refused, left_out = [], [], 0
    for number, row in enumerate(events):
        value = row["event_value"]
        ok = (
            row["user_id"] not in ("", None)
            and row["item_id"] in ("a", "b")
            and row["event_type"] is not None
            and not (timed and row["timestamp"] in (None, -1))
            and value != "x"
            and value == value  # noqa: PLR0124 - NaN differs from itself
            and not (row["event_type"] == "rating" and value is None)
        )
        if not ok:
            refused.append(number)
        elif row["event_type"] == "skip" or (row["event_type"] == "rating" and value < 4):
            left_out += 1
        else:
            taken.append((str(row["user_id"]), row["item_id"], row["event_type"]))
    assert triples(shop) == taken
    assert sorted(refusal.row for refusal in quarantine.refusals if refusal.row is not None) == refused
    assert sum(shop.reading.left_out.values()) == left_out


@pytest.mark.real_data
def test_real_ratings_below_four_are_left_out_and_the_rest_kept_in_order(real_data: Path) -> None:
    quarantine = Quarantine()
    shop = read_shop(real_data / "ml100k-posters", quarantine=quarantine)
    assert quarantine.total == 0
    assert (len(shop.catalog), len(shop.interactions.users)) == (1682, 943)
    assert (len(shop.interactions), shop.reading.left_out) == (55_375, {"rating": 44_625})
    assert (shop.catalog.image != "").sum() == 1663
    assert shop.interactions.timestamp is not None
    assert (shop.interactions.timestamp.min(), shop.interactions.timestamp.max()) == (874724710, 893286638)
    assert shop.users_attributes.names() == ["age", "gender", "occupation"]


@pytest.mark.real_data
def test_a_million_real_events_are_read_in_seconds(real_data: Path) -> None:
    start = time.process_time()
    shop = read_shop(real_data / "ml1m-posters", quarantine=Quarantine())
    assert time.process_time() - start < 10
    kinds, counts = np.unique(shop.interactions.event_type.astype(str), return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {"like": 574_463, "view": 423_625}
    assert shop.interactions.timestamp is None


@pytest.mark.real_data
def test_real_shops_without_events_or_without_pictures_are_read(real_data: Path) -> None:
    fashion = read_shop(real_data / "fashion", quarantine=Quarantine())
    assert (len(fashion.catalog), len(fashion.interactions), len(fashion.interactions.users)) == (6000, 0, 0)
    paths = fashion.catalog.attributes.only("category").value.tolist()
    assert paths[:3] == ["Apparel", "Apparel > Bottomwear", "Apparel > Bottomwear > Shorts"]
    tools = read_shop(real_data / "amazon-industrial", quarantine=Quarantine())
    assert (len(tools.catalog), len(tools.interactions), tools.images) == (3686, 21_664, None)
    assert tools.reading.ignored_columns == {"interactions": ["position", "split"]}
