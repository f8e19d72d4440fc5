"""A bundle to be broken, and what it takes to write one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.vocabulary import Vocabulary


@pytest.fixture
def copied(small_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copied"))


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
