"""Bundles made of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle_writer import write_bundle


def rewritten_bundle(old: Bundle, folder: Path, **changed: Any) -> Path:
    """All that a bundle holds, but for what is given by the names of `write_bundle`."""
    kept: dict[str, Any] = {
        "items": old.items,
        "users": old.users,
        "item_embeddings": np.asarray(old.item_embeddings),
        "user_embeddings": np.asarray(old.user_embeddings),
        "text_vectors": np.asarray(old.text_vectors),
        "image_vectors": np.asarray(old.image_vectors),
        "popularity": np.asarray(old.popularity),
        "match_scores": np.asarray(old.match_scores),
        "display": list(old.displays()),
        "seen": (np.asarray(old.seen_indptr), np.asarray(old.seen_indices)),
        "similar_idx": np.asarray(old.similar.idx),
        "similar_score": np.asarray(old.similar.score),
        "neighbors": {name: (np.asarray(of.idx), np.asarray(of.score)) for name, of in old.neighbors.items()},
        "co_idx": np.asarray(old.co_idx),
        "co_count": np.asarray(old.co_count),
        "config": {},
        "metrics": {},
        "fingerprints": {},
    }
    return write_bundle(folder, **kept | changed)


def growing_bundle(searchable: Path, folder: Path) -> Path:
    """The bundle of `searchable` with what places new items: +1 for a mug by its words or its category, -1 for a shoe.

    Of what a bundle's tower hears, this one minds words and values: place = sign(mug - shoe + message).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from graph.cold_tower import ColdTower

    shapes: dict[str, list[int | str]] = {
        "text": ["n", 5],
        "image": ["n", 12],
        "trust": ["n"],
        "message": ["n", 1],
    }
    tower = helper.make_graph(
        [
            helper.make_node("MatMul", ["text", "matrix"], ["said"]),
            helper.make_node("Add", ["said", "message"], ["heard"]),
            helper.make_node("Sign", ["heard"], ["output"]),
        ],
        "cold_item",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array([[0], [0], [0], [1], [-1]], dtype=np.float32), "matrix")],
    )
    onnx.save(helper.make_model(tower, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "cold.onnx")
    old = Bundle.open(searchable / "bundle")
    values = [("category", "mug"), ("category", "shoe")]
    cold = ColdTower(
        np.zeros((17, 1), dtype=np.float32),
        np.array([[1.0], [-1.0]], dtype=np.float32),
        np.zeros((24, 1), dtype=np.float32),
        0.0,
    )
    return rewritten_bundle(
        old,
        folder / "bundle",
        neighbors={},
        onnx={
            **{path.name: path for path in (old.path / "onnx").iterdir()},
            "cold_item.onnx": folder / "cold.onnx",
        },
        cold=(cold, values),
    )
