"""`recsys images`, `recsys attributes` and `recsys check --duplicates`, as a user calls them."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from typer.testing import CliRunner, Result

from features.errors import InputError
from recsys.check_tables import duplicates_table
from recsys.commands.attributes import attributes
from recsys.commands.check import check
from recsys.commands.images import images

COLORS = {"red": (210, 30, 40), "blue": (40, 60, 200), "green": (40, 160, 70)}


def call(command: Callable[..., None], *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def picture(color: str, seed: int, quality: int = 92) -> bytes:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (96, 96), "white")
    x, y, w, h = rng.uniform([15, 15, 30, 30], [30, 30, 50, 50])
    ImageDraw.Draw(image).ellipse((x, y, x + w, y + h), fill=COLORS[color])
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 items of three colors, every fifth without a color in the table; two of them are one listing."""
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rows = []
    for row in range(60):
        color = list(COLORS)[row % 3]
        (folder / "images" / f"{row}.jpg").write_bytes(picture(color, row))
        title = f"{('Bowl', 'Plate', 'Cup', 'Jug')[row % 4]} number {row}"
        rows.append({"item_id": f"i{row}", "title": title, "image": f"{row}.jpg", "color": color if row % 5 else None})
    (folder / "images" / "7.jpg").write_bytes(picture("red", 3, quality=70))
    rows[7] |= {"title": rows[3]["title"], "color": "red"}
    pd.DataFrame(rows).to_parquet(folder / "items.parquet")
    monkeypatch.chdir(tmp_path)
    return folder


def test_attributes_and_duplicates_of_a_shop(shop: Path) -> None:
    before = {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()}
    done = call(
        attributes, shop, "--fill", "color", "--use", "image", "--threshold", 0.5, "--out", "a.parquet", "--json"
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout[done.stdout.index('{\n  "file"') :])["attributes"]["color"]
    assert report["labeled"] == 48
    assert report["accuracy"] > 0.9 > report["majority"]
    assert "colors" in report["weights"]
    filled = pd.read_parquet("a.parquet")
    assert list(filled.columns) == ["item_id", "attribute", "value", "confidence", "source"]
    assert report["filled"] == len(filled) > 6
    assert (filled["confidence"] >= 0.5).all()
    rows = filled["item_id"].str[1:].astype(int)
    assert set(rows) <= {row for row in range(60) if row % 5 == 0}
    assert (filled["value"] == [list(COLORS)[row % 3] for row in rows]).mean() > 0.8

    listed = call(check, shop, "--duplicates", "--json")
    found = json.loads(listed.stdout[listed.stdout.index('{\n  "name"') :])["near_duplicates"]
    assert {"kind": "both", "items": ["i3", "i7"]}.items() <= found["groups"][0].items()
    assert found["groups"][0]["words"] == [1.0]
    assert {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()} == before


def test_a_shop_without_pictures_has_no_colors_among_its_sources(shop: Path) -> None:
    shutil.rmtree(shop / "images")
    done = call(attributes, shop, "--fill", "color", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout[done.stdout.index('{\n  "file"') :])["attributes"]["color"]
    assert set(report["weights"]) == {"words", "neighbors", "head"}


def test_duplicates_are_shown_as_groups_the_first_ones_only() -> None:
    group = {
        "kind": "same words",
        "items": ["a[1]", "b"],
        "titles": ["Mug", "mug"],
        "difference": [None],
        "words": [0.98765],
        "fused": [0.5],
    }
    console = Console(width=100, file=io.StringIO())
    console.print(duplicates_table({"groups": [group] * 45}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "45 x same words" in shown
    assert "a[1]" in shown
    assert "0.988" in shown
    assert shown.count("Mug") == 40
    assert "and 5 groups more" in shown


def test_values_without_any_label(shop: Path) -> None:
    done = call(attributes, shop, "--fill", "shape", "--values", "shape=bowl,plate,cup,jug", "--out", "shapes.parquet")
    assert done.exit_code == 0, done.output
    filled = pd.read_parquet("shapes.parquet").set_index("item_id")
    assert filled["value"]["i0"] == "bowl"
    assert filled["value"]["i2"] == "cup"
    assert filled["source"]["i0"] == "words"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--fill", "size"], "no item has a value of size, the shop has the attributes color"),
        (["--fill", "color:x"], "must be a number"),
        (["--fill", "color", "--values", "color"], "must look like color=red"),
    ],
)
def test_what_cannot_be_filled_is_told(shop: Path, options: list[str], why: str) -> None:
    done = call(attributes, shop, *options)
    assert isinstance(done.exception, InputError)
    assert why in str(done.exception)


@pytest.fixture
def address() -> Iterator[str]:
    """A server of one picture."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = picture("blue", 1) if self.path == "/blue.jpg" else b"no"
            self.send_response(200 if self.path == "/blue.jpg" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_pictures_are_fetched_when_asked_and_then_checked_as_the_shops_own(tmp_path: Path, address: str) -> None:
    shop, cache = tmp_path / "far", tmp_path / "cache"
    shop.mkdir()
    rows = [{"item_id": name, "title": name, "image": f"{address}/{name}.jpg"} for name in ("blue", "gone")]
    (shop / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = (shop, "--cache", cache, "--out", tmp_path / "out")
    refused = call(images, *options)
    assert "is at 127.0.0.1, which is no public address" in " ".join(refused.output.split())
    done = call(images, *options, "--allow-private", "--again", "--retries", 0)
    assert done.exit_code == 0, done.output
    assert "failed: answers 404" in done.output
    line = json.loads((tmp_path / "out" / "quarantine.jsonl").read_text())
    assert (line["file"], line["value"]) == (f"{address}/gone.jpg", "'answers 404'")
    checked = call(check, *options, "--json")
    summary = json.loads(checked.stdout[checked.stdout.index('{\n  "name"') :])
    assert summary["modalities"]["image"]["items"] == 1
    assert summary["remote_images"] == 1
    assert "picture could not be fetched; the item is kept without it" in summary["quarantine"]["rules"]
