from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from features.pictures.check import check_pictures
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from features.shop.summary import summarize


def drawn(color: str, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(out, kind)
    return out.getvalue()


@pytest.fixture
def small(tmp_path: Path) -> tuple[Shop, Quarantine]:
    """Six items (two titles alike, two pictures alike, one broken, one elsewhere, one missing) and five events."""
    (tmp_path / "items.csv").write_text(
        "item_id,title,description,image,price,brand\n"
        "a,Mug,A mug.,1.png,2,Acme\n"
        "b,Mug,,2.png,,Acme\n"
        "c,Shoe,,3.png,-1,Bolt\n"
        "d,Hat,,https://example.com/d.png,,\n"
        "e,Cap,,gone.png,4,\n"
        "f,,,,,\n"
    )
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,event_type,event_value,timestamp\n"
        "u,a,view,,2024-01-01T00:00:00Z\n"
        "u,a,view,,2024-01-01T00:00:00Z\n"
        "v,b,rating,5,2024-03-01T12:00:00+02:00\n"
        "v,c,rating,1,2024-04-01T00:00:00Z\n"
        "v,nowhere,view,,2024-01-01T00:00:00Z\n"
    )
    (tmp_path / "users.csv").write_text("user_id,city\nu,Ulm\nw,Ulm\n")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("1.png", drawn("red"))
        archive.writestr("2.png", drawn("red"))
        archive.writestr("3.png", b"<svg/>")
    quarantine = Quarantine()
    return read_shop(tmp_path, quarantine=quarantine), quarantine


def test_a_shop_is_counted(small: tuple[Shop, Quarantine]) -> None:
    shop, quarantine = small
    summary = summarize(shop, quarantine, pictures=check_pictures(shop, quarantine=quarantine))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert {name: summary[name] for name in ("items", "users", "interactions", "cold_items", "active_users")} == {
        "items": 6,
        "users": 3,
        "interactions": 3,
        "cold_items": 4,
        "active_users": 2,
    }
    assert summary["events"] == {"view": 2, "rating": 1}
    assert summary["left_out"] == {"rating": 1}
    assert summary["date_range"] == {"first": "2024-01-01T00:00:00+00:00", "last": "2024-03-01T10:00:00+00:00"}
    assert {name: found["items"] for name, found in summary["modalities"].items()} == {
        "title": 5,
        "description": 1,
        "image": 2,
        "text and image": 2,
        "neither text nor image": 1,
        "price": 2,
        "available": 6,
    }
    assert summary["modalities"]["image"]["share"] == 0.3333
    assert summary["remote_images"] == 1
    assert summary["attributes"] == {"brand": {"values": 2, "items": 3, "note": None}}
    assert summary["user_attributes"] == {"city": {"values": 1, "users": 2, "note": None}}
    assert summary["duplicates"] == {"titles": 1, "pictures": 1, "events": 1}
    assert summary["quarantine"]["total"] == 4
    assert summary["quarantine"]["rules"] == {
        "price must be a number >= 0; the item is kept without it": 1,
        "image file is missing; the item is kept without it": 1,
        "item_id is not in the item table": 1,
        "unreadable image": 1,
    }


def test_without_opening_the_pictures_they_count_as_named(small: tuple[Shop, Quarantine]) -> None:
    summary = summarize(*small)
    assert summary["modalities"]["image"]["items"] == 3
    assert summary["duplicates"]["pictures"] is None


def test_an_unreadable_picture_is_told_with_its_item_and_its_reason(small: tuple[Shop, Quarantine]) -> None:
    shop, _ = small
    quarantine = Quarantine()
    report = check_pictures(shop, quarantine=quarantine)
    assert (report.readable, report.same, report.duplicates) == (2, ((0, 1),), 1)
    [refusal] = quarantine.refusals
    assert (refusal.file, refusal.row, refusal.rule) == ("3.png", 2, "unreadable image")
    assert "is SVG" in refusal.value
    assert list(report.unreadable) == [2]


def test_one_file_named_by_two_items_is_the_same_picture(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,image\na,A,1.png\nb,B,1.png\nc,C,2.png\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(drawn("red"))
    (tmp_path / "images" / "2.png").write_bytes(drawn("blue"))
    shop = read_shop(tmp_path, quarantine=Quarantine())
    assert check_pictures(shop, quarantine=Quarantine()).same == ((0, 1),)
    (tmp_path / "images" / "2.png").unlink()
    assert "no picture" in check_pictures(shop, quarantine=Quarantine()).unreadable[2]


def test_every_picture_of_an_item_is_opened_and_one_that_can_be_used_is_enough(tmp_path: Path) -> None:
    rows = [
        {"item_id": "a", "title": "A", "image": ["bad.png", "good.png"]},
        {"item_id": "b", "title": "B", "image": ["good.png", "bad.png", "worse.png"]},
        {"item_id": "c", "title": "C", "image": ["bad.png", "worse.png"]},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "good.png").write_bytes(drawn("red"))
    for name in ("bad.png", "worse.png"):
        (tmp_path / "images" / name).write_bytes(b"<svg></svg>")
    quarantine = Quarantine()
    report = check_pictures(read_shop(tmp_path, quarantine=Quarantine()), quarantine=quarantine)
    assert report.readable == 2
    assert list(report.unreadable) == [2]
    refused = [(refusal.row, refusal.file) for refusal in quarantine.refusals]
    assert refused == [(0, "bad.png"), (1, "bad.png"), (1, "worse.png"), (2, "bad.png"), (2, "worse.png")]


@pytest.mark.real_data
def test_real_duplicate_pictures_are_found(real_data: Path) -> None:
    quarantine = Quarantine()
    shop = read_shop(real_data / "fashion", quarantine=quarantine)
    report = check_pictures(shop, quarantine=quarantine)
    assert (report.readable, report.duplicates, quarantine.total) == (6000, 17, 0)


def test_events_of_the_future_are_counted_where_the_time_is_known(small: tuple[Shop, Quarantine]) -> None:
    assert summarize(*small)["remarks"] == []
    february = datetime(2024, 2, 1, tzinfo=UTC).timestamp()
    said = summarize(*small, now_s=february)["remarks"]
    assert len(said) == 1
    assert re.fullmatch(
        r"\d of \d events are of the future, up to 2024-0\d-\d\dT\S+: is the time zone right\?", said[0]
    )
    times = small[0].interactions.timestamp
    assert times is not None
    assert said[0].startswith(f"{int((times > february).sum())} of {len(times)} ")
    assert summarize(*small, now_s=datetime(2025, 1, 1, tzinfo=UTC).timestamp())["remarks"] == []
