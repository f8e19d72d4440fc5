from __future__ import annotations

import os
import struct
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.errors import InputError
from features.pictures.sources import FolderImages, ImageSource, UnreadableImage, ZipImages


def source_of(kind: str, folder: Path, files: dict[str, bytes]) -> ImageSource:
    if kind == "folder":
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return FolderImages(folder, max_bytes=1000)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return ZipImages(folder / "images.zip", max_bytes=1000)


@pytest.mark.parametrize("kind", ["folder", "zip"])
class TestEverySource:
    def test_names_and_bytes_come_back(self, kind: str, tmp_path: Path) -> None:
        files = {"a.jpg": b"one", "sub/ü b.png": b"two"}
        source = source_of(kind, tmp_path, files)
        assert source.names() >= set(files)
        assert {name: source.read(name) for name in files} == files

    @pytest.mark.parametrize(
        "name", ["", "no.jpg", "../secret", "/etc/passwd", "sub", "a\0b", "..\\secret", "sub/../a"]
    )
    def test_a_name_that_is_not_there_or_leaves_is_a_key_error(self, kind: str, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "in").mkdir()
        source = source_of(kind, tmp_path / "in", {"sub/a": b"x"})
        with pytest.raises(KeyError):
            source.read(name)

    def test_too_large_a_file_is_refused(self, kind: str, tmp_path: Path) -> None:
        source = source_of(kind, tmp_path, {"big": b"x" * 1001, "fits": b"x" * 1000})
        assert len(source.read("fits")) == 1000
        with pytest.raises(UnreadableImage, match="1,001 bytes, at most 1,000"):
            source.read("big")

    def test_many_threads_read_at_once(self, kind: str, tmp_path: Path) -> None:
        files = {f"{number}.bin": bytes([number]) * (500 + number) for number in range(100)}
        source = source_of(kind, tmp_path, files)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(source.read, [*files] * 5)) == [*files.values()] * 5

    def test_the_fingerprint_changes_with_the_content(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        one, two = (source_of(kind, tmp_path / side, {"a": data}) for side, data in (("1", b"x"), ("2", b"xy")))
        assert one.fingerprint() == one.fingerprint() != two.fingerprint()


def test_links_out_of_the_folder_are_neither_listed_nor_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    images = tmp_path / "images"
    images.mkdir()
    (images / "real").write_bytes(b"x")
    (images / "within").symlink_to("real")
    (images / "out").symlink_to(tmp_path / "secret")
    (images / "up").symlink_to(tmp_path, target_is_directory=True)
    source = FolderImages(images)
    assert source.names() == {"real", "within"}
    assert source.read("within") == b"x"
    for name in ("out", "up/secret"):
        with pytest.raises(KeyError, match="link out of its folder"):
            source.read(name)


def test_members_that_leave_the_archive_are_named_and_never_read(tmp_path: Path) -> None:
    bad = ["../up.jpg", "/abs.jpg", "C:/drive.jpg", "a/../../b.jpg"]
    source = source_of("zip", tmp_path, dict.fromkeys([*bad, "good.jpg"], b"x"))
    assert isinstance(source, ZipImages)
    assert set(source.outside) == set(bad)
    assert source.names() == {"good.jpg"}
    for name in bad:
        with pytest.raises(KeyError):
            source.read(name)


def test_a_member_that_hides_more_than_it_claims_is_not_unpacked(tmp_path: Path) -> None:
    source_of("zip", tmp_path, {"bomb": b"\0" * 50_000_000})
    path = tmp_path / "images.zip"
    data = path.read_bytes()
    assert len(data) < 100_000
    path.write_bytes(data.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 10)))
    with pytest.raises(UnreadableImage, match="damaged"):
        ZipImages(path, max_bytes=100_000).read("bomb")


def test_damaged_encrypted_and_oddly_packed_members_say_so(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"picture")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"picture", b"pixture"))
    with pytest.raises(UnreadableImage, match="checksum"):
        ZipImages(path).read("a")
    directory = whole.rindex(b"PK\1\2")
    path.write_bytes(whole[: directory + 8] + b"\1\0" + whole[directory + 10 :])
    with pytest.raises(UnreadableImage, match="encrypted"):
        ZipImages(path).read("a")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"picture")
    with pytest.raises(UnreadableImage, match="method 12"):
        ZipImages(path).read("a")


def test_what_is_no_archive_and_no_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"images\.zip must be a whole zip archive: File is not a zip file"):
        ZipImages(tmp_path / "images.zip")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a", b"picture")
    os.truncate(tmp_path / "images.zip", 60)
    with pytest.raises(InputError, match="it begins as one, and its end is missing after 60 bytes; copy it again"):
        ZipImages(tmp_path / "images.zip")
    with pytest.raises(InputError, match="must be a folder"):
        FolderImages(tmp_path / "images")


def test_a_dropped_archive_closes_its_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source_of("zip", tmp_path, {"a": b"x"})
    assert not [warning for warning in caught if issubclass(warning.category, ResourceWarning)]
