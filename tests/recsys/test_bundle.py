from __future__ import annotations

import hashlib
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_format import (
    FILES,
    ITEMS,
    SEARCH_TERMS,
    USERS,
    BundleError,
    FileEntry,
    content_version,
    neighbor_files,
    places_file,
)
from recsys.bundle_writer import write_bundle
from recsys.search.query import SearchQuery
from recsys.search.searcher import Searcher

EVERY_FILE = [*FILES, *neighbor_files("text"), *neighbor_files("image"), places_file(ITEMS)]


@pytest.fixture
def copied(small_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copied"))


def rewrite_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = orjson.loads((bundle / "manifest.json").read_bytes())
    change(raw)
    (bundle / "manifest.json").write_bytes(orjson.dumps(raw))


def replace_array(bundle: Path, name: str, values: np.ndarray) -> None:
    """Swap a file's content and vouch for it in the manifest, as a writer with a bug would."""
    np.save(bundle / name, values)
    vouch(bundle, name, dtype=values.dtype.str, shape=list(values.shape))


def vouch(bundle: Path, name: str, **form: Any) -> None:
    """Say in the manifest that a file is as it is."""
    content = (bundle / name).read_bytes()

    def change(raw: dict[str, Any]) -> None:
        raw["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **form}
        raw["version"] = content_version({file: FileEntry(**entry) for file, entry in raw["files"].items()})

    rewrite_manifest(bundle, change)


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The arguments of a bundle with two items, `a` and `b`, and one user."""
    return {
        "items": Vocabulary(("a", "b")),
        "users": Vocabulary(("someone",)),
        "item_embeddings": np.array([[1.0, 0.5], [0.25, 2.0]], dtype=np.float32),
        "user_embeddings": np.array([[1.0, -1.0]], dtype=np.float32),
        "text_vectors": np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32),
        "image_vectors": np.zeros((2, 0), dtype=np.float32),
        "popularity": np.array([3.0, 0.0], dtype=np.float32),
        "match_scores": np.array([0.5, np.nan], dtype=np.float32),
        "display": [
            {
                "item_id": item_id,
                "title": f"Ähnlich {item_id}",
                "description": "two\nlines",
                "price": price,
                "available": True,
                "image": "",
                "attributes": {"genre": ["Drama"]},
            }
            for item_id, price in (("a", 1.5), ("b", float("nan")))
        ],
        "seen": (np.array([0, 1]), np.array([1])),
        "similar_idx": np.array([[1], [0]]),
        "similar_score": np.array([[0.5], [0.5]], dtype=np.float32),
        "neighbors": {},
        "co_idx": np.full((2, 1), -1),
        "co_count": np.zeros((2, 1)),
        "config": {"dim": 2},
        "metrics": {"recall@20": float("nan"), "hit@20": 0.25},
        "fingerprints": {"shop": "abc"},
    }


def test_what_is_written_is_read_back(tiny: dict[str, Any], tmp_path: Path) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "new" / "bundle", **tiny, onnx={"text.onnx": b"network"}))
    for name in ("item_embeddings", "user_embeddings", "text_vectors", "image_vectors", "popularity", "match_scores"):
        np.testing.assert_array_equal(getattr(bundle, name), tiny[name])
        assert getattr(bundle, name).dtype == np.dtype("<f4")
    assert (list(bundle.items), list(bundle.users)) == (["a", "b"], ["someone"])
    assert bundle.seen(0).tolist() == [1]
    assert bundle.similar.of(1)[0].tolist() == [0]
    assert bundle.display(0) == tiny["display"][0]
    assert bundle.display(1) == tiny["display"][1] | {"price": None}
    assert bundle.attribute_counts == {"genre": {"Drama": 2}}
    assert bundle.category_attribute == "genre"
    assert bundle.category_members("Drama").tolist() == [0, 1]
    assert bundle.onnx("text.onnx") == bundle.path / "onnx" / "text.onnx"
    assert bundle.onnx("image.onnx") is None
    assert bundle.manifest.config == {"dim": 2}
    assert bundle.manifest.metrics == {"recall@20": None, "hit@20": 0.25}


def test_vectors_are_mapped_not_read(small_bundle: Path) -> None:
    vectors = Bundle.open(small_bundle).item_vectors
    assert isinstance(vectors.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1.0


def test_members_of_a_category_come_most_popular_first(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    members = bundle.category_members("Kitchen > Mug").tolist()
    assert members == sorted(range(0, 60, 2), key=lambda row: (-bundle.popularity[row], row))
    assert bundle.category_members("Garden").tolist() == []


def test_equal_content_has_an_equal_version_and_other_content_another(tiny: dict[str, Any], tmp_path: Path) -> None:
    first = Bundle.open(write_bundle(tmp_path / "first", **tiny))
    again = Bundle.open(write_bundle(tmp_path / "again", **tiny))
    other = Bundle.open(write_bundle(tmp_path / "other", **tiny | {"popularity": np.array([3.0, 1.0])}))
    assert first.version == again.version != other.version
    assert len(first.version) == 16


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


def without(bundle: Path, *names: str) -> None:
    """Take files out of a bundle and its manifest."""

    def change(raw: dict[str, Any]) -> None:
        for name in names:
            raw["files"].pop(name)
            (bundle / name).unlink()
        raw["version"] = content_version({file: FileEntry(**entry) for file, entry in raw["files"].items()})

    rewrite_manifest(bundle, change)


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


def test_a_new_bundle_replaces_the_old_one_which_stays_readable_where_open(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    old = Bundle.open(write_bundle(tmp_path / "bundle", **tiny))
    new = Bundle.open(write_bundle(tmp_path / "bundle", **tiny | {"popularity": np.array([9.0, 9.0])}))
    assert old.popularity.tolist() == [3.0, 0.0]
    assert new.popularity.tolist() == [9.0, 9.0]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(tiny: dict[str, Any], tmp_path: Path) -> None:
    version = Bundle.open(write_bundle(tmp_path / "bundle", **tiny)).version
    with pytest.raises(ValueError, match="display must have a row an item"):
        write_bundle(tmp_path / "bundle", **tiny | {"display": tiny["display"][:1]})
    assert Bundle.open(tmp_path / "bundle").version == version
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_never_overwritten(tiny: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is no bundle"):
        write_bundle(tmp_path, **tiny)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"items": Vocabulary(())}, "must hold at least one item"),
        ({"item_embeddings": np.array([[1, 1], [1, math.nan]])}, "item_vectors.npy must be finite, row 1 is not"),
        ({"popularity": np.zeros(3)}, r"popularity.npy must have shape \[n_items\] with {'n_items': 2}"),
        ({"user_embeddings": np.zeros((1, 3))}, r"user_embeddings.npy must have shape .* 'dim': 2"),
        ({"similar_idx": np.array([[1], [2]])}, r"similar_idx.npy must be in \[-1, 2\)"),
        ({"seen": (np.array([0, 2]), np.array([1]))}, "seen_indptr.npy must rise from 0 to 1, it ends at 2"),
        ({"seen": (np.array([0, 1]), np.array([-1]))}, r"seen_indices.npy must be in \[0, 2\)"),
        ({"neighbors": {"text": (np.zeros((1, 1)), np.zeros((1, 1)))}}, "neighbors 'text' must be"),
        ({"category_attribute": "aisle"}, "category attribute must be one of"),
    ],
)
def test_what_no_reader_could_use_is_not_written(
    tiny: dict[str, Any], tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        write_bundle(tmp_path / "bundle", **tiny | change)
    assert list(tmp_path.iterdir()) == []


def test_display_rows_must_be_the_items_in_order(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 0 is 'b', not 'a'"):
        write_bundle(tmp_path / "bundle", **tiny | {"display": tiny["display"][::-1]})
    with pytest.raises(ValueError, match="row 2 is 'b', not the end after 2 rows"):
        write_bundle(tmp_path / "bundle", **tiny | {"display": [*tiny["display"], tiny["display"][1]]})
    with pytest.raises(ValueError, match="display must have 'title', row 0 has not"):
        write_bundle(tmp_path / "bundle", **tiny | {"display": [{"item_id": "a"}]})


def test_a_bundle_is_read_without_the_training_stack(small_bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from recsys.bundle import Bundle;"
        "from recsys.recommender import BundleRecommender; from recsys.recommendation import UserState;"
        "assert BundleRecommender(Bundle.open(Path(sys.argv[1]))).recommend(UserState('u0'), 3);"
        "print(*{'torch', 'transformers', 'pandas', 'scipy', 'faiss', 'sklearn'} & set(sys.modules))"
    )
    asked = subprocess.run([sys.executable, "-c", code, small_bundle], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == ""
