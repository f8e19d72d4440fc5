"""A small hand-made bundle that encodes queries, for the tests of search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from features.onnx.encoders import EncodersSpec, ImageSpec, QueryEncoders, TextSpec
from features.onnx.picture import PictureSpec
from features.vocabulary import Vocabulary
from recsys.bundle_writer import write_bundle


def write_searchable(folder: Path) -> None:
    """A folder with `bundle/`, a hand-made bundle that encodes queries, and `shop/images/iN.png`.

    24 items "Red mug 0", "Green shoe 1", "Blue mug 2", ...: row % 3 is the color, row % 2 the kind, price row + 1.
    `i22` has no words, `i23` no picture, `i5` cannot be bought. The text encoder knows nine words, one direction a
    meaning: "crimson" means red, "cup" mug and "sneaker" shoe. The image encoder averages the quarters of a picture;
    mugs are colored above, shoes on the left, the rest is white. Words and pictures share a space of colors. User `u0`
    likes mugs, `u1` shoes.
    """
    networks, images = folder / "networks", folder / "shop" / "images"
    networks.mkdir()
    images.mkdir(parents=True)

    def save(name: str, inputs: dict[str, tuple[int, list[int | str]]], nodes: list, **constants: np.ndarray) -> None:
        given = [helper.make_tensor_value_info(at, kind, shape) for at, (kind, shape) in inputs.items()]
        out = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", "dim"])]
        held = [numpy_helper.from_array(value, at) for at, value in constants.items()]
        graph = helper.make_graph(nodes, name, given, out, held)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(made)
        onnx.save(made, networks / name)

    meanings = {"red": 0, "green": 1, "blue": 2, "mug": 3, "shoe": 4, "crimson": 0, "cup": 3, "sneaker": 4}
    table = np.concatenate([np.zeros((1, 5)), np.eye(5)[list(meanings.values())]]).astype(np.float32)
    vocabulary = {"[UNK]": 0, **{word: place + 1 for place, word in enumerate(meanings)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(networks / "tokenizer.json"))
    tokens: list[int | str] = ["n", "t"]
    save(
        "text_encoder.onnx",
        {"input_ids": (TensorProto.INT64, tokens), "attention_mask": (TensorProto.INT64, tokens)},
        [
            helper.make_node("Gather", ["table", "input_ids"], ["words"]),
            helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["real", "last"], ["kept"]),
            helper.make_node("Mul", ["words", "kept"], ["said"]),
            helper.make_node("ReduceSum", ["said", "middle"], ["output"], keepdims=0),
        ],
        table=table,
        last=np.array([2]),
        middle=np.array([1]),
    )
    save(
        "image_encoder.onnx",
        {"pixels": (TensorProto.FLOAT, ["n", 3, 8, 8])},
        [
            helper.make_node("AveragePool", ["pixels"], ["quarters"], kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Flatten", ["quarters"], ["output"]),
        ],
    )
    shared = {"match_text.onnx": np.eye(5, 3), "match_image.onnx": np.repeat(np.eye(3), 4, axis=0)}
    for name, matrix in shared.items():
        save(
            name,
            {"vector": (TensorProto.FLOAT, ["n", len(matrix)])},
            [
                helper.make_node("MatMul", ["vector", "matrix"], ["mixed"]),
                helper.make_node("LpNormalization", ["mixed"], ["output"], axis=1),
            ],
            matrix=matrix.astype(np.float32),
        )
    square = PictureSpec(resize=(8, 8), resample="bilinear", crop=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    about = {"encoder": "hand-made", "dim": 5, "max_tokens": 16, "pad_id": 0, "fixed_length": False}
    about |= {
        name: value for name, value in {"prompt": "", "truncation": "head"}.items() if name in TextSpec.model_fields
    }
    spec = EncodersSpec(
        text=TextSpec.model_validate(about), image=ImageSpec(encoder="hand-made", dim=12, picture=square)
    )
    (networks / "encoders.json").write_text(spec.model_dump_json())
    encoders = QueryEncoders.open(networks)
    assert encoders.text is not None
    assert encoders.image is not None

    n_items, colors, kinds = 24, ("Red", "Green", "Blue"), ("mug", "shoe")
    titles = [f"{colors[row % 3]} {kinds[row % 2]} {row}" for row in range(n_items)]
    text, image = np.zeros((n_items, 5), dtype=np.float32), np.zeros((n_items, 12), dtype=np.float32)
    for row in range(n_items):
        picture = Image.new("RGB", (64, 64), "white")
        paint = tuple(255 if channel == row % 3 else 0 for channel in range(3))
        picture.paste(paint, (0, 0, 64, 32) if row % 2 == 0 else (0, 0, 32, 64))
        if row != 22:
            text[row] = encoders.text.encode([titles[row].lower()])[0]
        if row != 23:
            image[row] = encoders.image.encode([picture])[0]
            picture.save(images / f"i{row}.png")
    taste = np.where(np.arange(n_items) % 2 == 0, 1.0, -1.0).astype(np.float32)
    none = np.full((n_items, 1), -1), np.zeros((n_items, 1), dtype=np.float32)
    write_bundle(
        folder / "bundle",
        items=Vocabulary(tuple(f"i{row}" for row in range(n_items))),
        users=Vocabulary(("u0", "u1")),
        item_embeddings=taste[:, None],
        user_embeddings=np.array([[1.0], [-1.0]], dtype=np.float32),
        text_vectors=text,
        image_vectors=image,
        popularity=np.arange(n_items, dtype=np.float32),
        match_scores=np.full(n_items, np.nan, dtype=np.float32),
        display=[
            {
                "item_id": f"i{row}",
                "title": "" if row == 22 else titles[row],
                "description": "",
                "price": float(row + 1),
                "available": row != 5,
                "image": "" if row == 23 else f"i{row}.png",
                "attributes": {} if row == 22 else {"color": [colors[row % 3]], "category": [kinds[row % 2]]},
            }
            for row in range(n_items)
        ],
        seen=(np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int64)),
        similar_idx=none[0],
        similar_score=none[1],
        neighbors={},
        co_idx=none[0],
        co_count=np.zeros((n_items, 1), dtype=np.int32),
        config={},
        metrics={},
        fingerprints={},
        onnx={path.name: path for path in networks.iterdir()},
    )
