"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real shops and benchmarks beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data is not beside this checkout ({REAL_DATA.parent.name}/{REAL_DATA.name} is missing)")
    return REAL_DATA


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small hand-made bundle's directory; do not write to it.

    60 items `i0`..`i59` and 20 users `u0`..`u19` in two planted tastes: even users like even items (mugs), odd users
    odd ones (shoes). `i57` cannot be bought, `i58` was liked by nobody, and `i59` has neither picture nor words.
    User `u18` has no history and a zero embedding.
    """
    from scipy import sparse

    from features.vocabulary import Vocabulary
    from recsys.bundle_writer import write_bundle
    from recsys.similar import co_liked, similar_lists, unit_rows

    rng = np.random.default_rng(7)
    n_items, n_users = 60, 20
    taste = np.arange(n_items) % 2
    side = np.where(taste == 0, 1.0, -1.0)[:, None]

    def around_taste(rows: np.ndarray, dim: int) -> np.ndarray:
        return np.concatenate([rows, 0.3 * rng.standard_normal((len(rows), dim - 1))], axis=1).astype(np.float32)

    items = around_taste(side, 8)
    users = around_taste(side[:n_users], 8)
    users[18] = 0
    text, image = unit_rows(around_taste(side, 12)), unit_rows(around_taste(side, 16))
    text[59], image[59] = 0, 0
    liked = np.zeros((n_users, n_items), dtype=np.float32)
    for user in range(n_users):
        liked[user, rng.choice(np.flatnonzero((taste == user % 2) & (np.arange(n_items) < 57)), 8, replace=False)] = 1
    liked[18] = 0
    likes = sparse.csr_matrix(liked)
    match = rng.uniform(0.4, 1.0, n_items).astype(np.float32)
    match[59] = np.nan
    kinds, colors, brands = ("Mug", "Shoe"), ("Red", "Blue", "Green"), ("Acme", "Bolt", "Corvid", "Dune")
    display = [
        {
            "item_id": f"i{i}",
            "title": f"{colors[i % 3]} {kinds[taste[i]].lower()} {i}",
            "description": "" if i == 59 else f"A {kinds[taste[i]].lower()} by {brands[i % 4]}.",
            "price": float(5 + i),
            "available": i != 57,
            "image": "" if i == 59 else f"i{i}.png",
            "attributes": {
                "category": [["Kitchen", "Kitchen > Mug"], ["Apparel", "Apparel > Shoe"]][taste[i]],
                "brand": [brands[i % 4]],
                "color": [colors[i % 3]],
            },
        }
        for i in range(n_items)
    ]
    none = np.full(n_items, np.nan, dtype=np.float32)
    similar_idx, similar_score = similar_lists(items, unit_rows(np.concatenate([text, image], axis=1)), match, k=20)
    co_idx, co_count = co_liked(likes, k=20)
    return write_bundle(
        tmp_path_factory.mktemp("small") / "bundle",
        items=Vocabulary(tuple(f"i{i}" for i in range(n_items))),
        users=Vocabulary(tuple(f"u{u}" for u in range(n_users))),
        item_embeddings=items,
        user_embeddings=users,
        text_vectors=text,
        image_vectors=image,
        popularity=liked.sum(axis=0),
        match_scores=match,
        display=display,
        seen=(likes.indptr, likes.indices),
        similar_idx=similar_idx,
        similar_score=similar_score,
        neighbors={
            "text": similar_lists(np.zeros_like(items), text, none, k=20, behavior_share=0),
            "image": similar_lists(np.zeros_like(items), image, none, k=20, behavior_share=0),
        },
        co_idx=co_idx,
        co_count=co_count,
        config={"model": {"dim": 8}},
        metrics={"recall@20": 0.5, "coverage@20": float("nan")},
        fingerprints={"shop": "hand-made"},
    )


@pytest.fixture(scope="session")
def synthetic_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small written shop with its planted truth beside it; to be read, never changed."""
    from features.synthetic.write import write_shop

    folder = tmp_path_factory.mktemp("synthetic") / "shop"
    write_shop(folder, n_items=240, n_users=300, seed=7)
    return folder
