"""A bundle is read back as it was written, and nothing else is written or overwritten."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle


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
