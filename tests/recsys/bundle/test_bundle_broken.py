"""A bundle that broke, or that was written otherwise, is told by its file; older ones are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle_format import (
    ITEMS,
    SEARCH_TERMS,
    USERS,
    BundleError,
    places_file,
)
from recsys.search.query import SearchQuery
from recsys.search.searcher import Searcher
from tests.recsys.bundle.broken import EVERY_FILE, replace_array, rewrite_manifest, vouch, without


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_flipped_bit_is_found_and_its_file_named(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: SHA-256 must be"):
        Bundle.open(copied)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_truncated_or_missing_file_is_named_hashed_or_not(copied: Path, name: str, verify: bool) -> None:
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[:-3])
    with pytest.raises(BundleError, match=f"{name}: size must be {len(content)} bytes, it is {len(content) - 3}"):
        Bundle.open(copied, verify=verify)
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: the manifest lists this file, it is missing"):
        Bundle.open(copied, verify=verify)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("popularity.npy", np.zeros(60), "popularity.npy: dtype must be <f4, it is <f8"),
        ("popularity.npy", np.zeros(59, dtype="<f4"), r"popularity.npy: shape must be \[n_items\] with n_items = 60"),
        ("user_embeddings.npy", np.zeros((20, 9), dtype="<f4"), "user_embeddings.npy: shape .* dim = 8"),
        ("seen_indptr.npy", np.zeros(20, dtype="<i8"), r"seen_indptr.npy: shape .* n_users = 20"),
        ("graph/image_idx.npy", np.zeros((60, 3), dtype="<i4"), r"graph/image_idx.npy: shape must be \[60, k\]"),
    ],
)
def test_an_array_of_another_type_or_shape_is_named(copied: Path, name: str, values: np.ndarray, says: str) -> None:
    replace_array(copied, name, values)
    with pytest.raises(BundleError, match=says):
        Bundle.open(copied)


def test_an_array_that_differs_from_the_manifest_in_shape_is_named(copied: Path) -> None:
    rewrite_manifest(copied, lambda raw: raw["files"]["popularity.npy"].update(shape=[61]))
    with pytest.raises(BundleError, match=r"popularity.npy: shape must be \(61,\), it is \(60,\)"):
        Bundle.open(copied)


def test_a_pickled_array_is_refused(copied: Path) -> None:
    replace_array(copied, "popularity.npy", np.array([{}], dtype=object))
    with pytest.raises(BundleError, match=r"popularity.npy: not a plain array file"):
        Bundle.open(copied)


def test_another_major_version_is_refused_and_a_newer_minor_one_is_read(copied: Path) -> None:
    rewrite_manifest(copied, lambda raw: raw.update(format_version="1.7", invented_later=True))
    assert len(Bundle.open(copied)) == 60
    rewrite_manifest(copied, lambda raw: raw.update(format_version="2.0"))
    with pytest.raises(BundleError, match=r"format version must be 1.x, it is 2.0"):
        Bundle.open(copied)


def test_a_bundle_from_before_ids_were_looked_up_in_their_file_answers_alike(small_bundle: Path, copied: Path) -> None:
    without(copied, *map(places_file, (ITEMS, USERS, SEARCH_TERMS)))
    rewrite_manifest(copied, lambda raw: raw.update(format_version="1.0"))
    old, new = Bundle.open(copied), Bundle.open(small_bundle)
    assert (old.items, old.users) == (new.items, new.users)
    assert [new.items.idx(item_id) for item_id in old.items] == list(range(60))
    query = SearchQuery(words=new.display(7)["title"], k=20)
    assert Searcher(old).search(query) == Searcher(new).search(query)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda every: np.concatenate([every[:-1], every[-1:] + 1]), "buckets must hold 60 ids, they hold 61"),
        (lambda every: np.append(every, every[-1]), "power of 2, it is 65"),
        (lambda every: every.astype("<i4"), r"items.places must be <i8 \[n\], it is <i4"),
        (lambda every: np.concatenate([every[:1], every[1:62] + 5, every[62:]]), "ids must end where their file does"),
    ],
)
def test_ids_that_are_elsewhere_than_is_said_are_refused(copied: Path, change: Any, says: str) -> None:
    every = change(np.load(copied / "items.places"))
    with (copied / "items.places").open("wb") as file:
        np.save(file, every)
    vouch(copied, "items.places")
    with pytest.raises(BundleError, match=f"items.json: must go with items.places: .*{says}"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw.update(version="0" * 16), "version must follow from the file hashes"),
        (lambda raw: raw["files"].update({"../keys": raw["files"]["items.json"]}), "must lie inside the bundle"),
        (lambda raw: raw["files"].pop("popularity.npy"), r"must hold popularity.npy"),
        (lambda raw: raw.pop("files"), "files: Field required"),
        (lambda raw: raw.pop("format_version"), "it is None"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(copied: Path, change: Any, says: str) -> None:
    rewrite_manifest(copied, change)
    with pytest.raises(BundleError, match=says):
        Bundle.open(copied)


def test_a_folder_without_a_manifest_is_no_bundle(copied: Path) -> None:
    (copied / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest.json: not valid JSON"):
        Bundle.open(copied)
    (copied / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"manifest.json is missing"):
        Bundle.open(copied)
