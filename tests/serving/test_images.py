from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from recsys.bundle import Bundle
from serving.pictures import sniff

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NAMES = {"i1": "../secret.png", "i2": "/etc/hostname", "i3": "sub/dir.png", "i4": "drawn.png", "i5": "link.png"}


def picture(kind: str) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(written, kind)
    return written.getvalue()


@pytest.fixture(scope="module")
def named_bundle(small_bundle: Path, rewritten: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle with image names as a careless or malicious shop might have them."""
    old = Bundle.open(small_bundle)
    display: list[Mapping[str, Any]] = [
        {**one, "image": NAMES.get(one["item_id"], one["image"])} for one in old.displays()
    ]
    return rewritten(old, tmp_path_factory.mktemp("named") / "bundle", display=display, neighbors={})


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "images" / "sub").mkdir(parents=True)
    (folder / "secret.png").write_bytes(picture("PNG"))
    (folder / "images" / "sub" / "dir.png").write_bytes(picture("PNG"))
    (folder / "images" / "drawn.png").write_bytes(SVG)
    (folder / "images" / "link.png").symlink_to(folder / "secret.png")
    (folder / "images" / "i0.png").write_bytes(picture("JPEG"))  # named .png, and is a JPEG
    (folder / "images" / "i6.png").write_bytes(picture("WEBP"))
    return folder


@pytest.fixture(params=["folder", "zip"])
def pictured(request: pytest.FixtureRequest, shop: Path, named_bundle: Path, start_service: Any) -> Any:
    if request.param == "zip":
        with zipfile.ZipFile(shop / "images.zip", "w") as archive:
            for path in sorted((shop / "images").rglob("*.png")):
                if not path.is_symlink():
                    archive.write(path, path.relative_to(shop / "images"))
            archive.write(shop / "secret.png", "../secret.png")
        shutil.rmtree(shop / "images")
    return start_service(bundle=named_bundle, shop=shop)


def test_a_picture_is_sent_as_the_shop_has_it_typed_by_content(pictured: Any) -> None:
    for item_id, kind in (("i0", "jpeg"), ("i6", "webp"), ("i3", "png")):
        answer = pictured.get(f"/v1/images/{item_id}")
        assert answer.status_code == 200
        assert answer.content == picture(kind.upper())
        assert answer.headers["content-type"] == f"image/{kind}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "max-age" in answer.headers["cache-control"]


def test_a_picture_that_has_not_changed_is_not_sent_again(pictured: Any) -> None:
    etag = pictured.get("/v1/images/i0").headers["etag"]
    again = httpx.get(pictured.base_url + "/v1/images/i0", headers={"if-none-match": f'"other", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    changed = httpx.get(pictured.base_url + "/v1/images/i0", headers={"if-none-match": '"other"'})
    assert changed.status_code == 200


def test_nothing_outside_the_shop_s_pictures_and_nothing_with_scripts_is_sent(pictured: Any) -> None:
    for item_id in ("i1", "i2", "i4", "i5"):
        answer = pictured.get(f"/v1/images/{item_id}")
        assert answer.status_code == 404, item_id
        assert answer.json()["type"] == "urn:recsys:problem:no-picture"
    for path in (
        "/v1/images/..%2Fsecret.png",
        "/v1/images/%2Fetc%2Fpasswd",
        "/static/..%2Fapp.py",
        "/static/%2e%2e/app.py",
    ):
        assert pictured.get(path).status_code == 404


def test_an_item_without_a_picture_and_an_unknown_item_are_problems_of_two_kinds(pictured: Any) -> None:
    assert pictured.get("/v1/images/i59").json()["type"] == "urn:recsys:problem:no-picture"
    assert pictured.get("/v1/images/nope").json()["type"] == "urn:recsys:problem:unknown-item"


def test_without_a_shop_folder_no_picture_is_there(start_service: Any, small_bundle: Path) -> None:
    assert start_service(bundle=small_bundle).get("/v1/images/i0").status_code == 404


@pytest.mark.parametrize("data", [b"", SVG, b"<html>", b"%PDF-1.4", b"GIF8", b"RIFF1234WAVE"])
def test_what_is_no_raster_picture_has_no_type(data: bytes) -> None:
    assert sniff(data) is None
