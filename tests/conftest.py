"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.cores import cores
from features.locks import alone_in

if TYPE_CHECKING:
    from recsys.appeal.history import CounterHistory
    from recsys.bundle import Bundle
    from recsys.fit import FitSummary
    from recsys.ranking.linear import LinearRanker
    from recsys.ranking.standing import Standing

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
MOST_WORKERS = 4
"""Each holds PyTorch and models of its own, about a gigabyte."""


def pytest_configure() -> None:
    """A run in the background is deaf to Ctrl-C; the programs that tests start and interrupt must not inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: a worker a core."""
    return min(cores(), MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: Sequence[object]) -> None:
    """Workers do not take threads from each other, which costs more than it brings."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(cores() // len(specs), 1)))


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

    from features.vectors.rows import unit_rows
    from features.vocabulary import Vocabulary
    from recsys.bundle_writer import write_bundle
    from recsys.similar import co_liked, similar_lists

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
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run, one for all its workers: what is made there under a lock is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "workshop"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def synthetic_shop(workshop: Path) -> Path:
    """A small written shop with its planted truth beside it; to be read, never changed."""
    from features.synthetic.write import write_shop

    folder = workshop / "synthetic" / "shop"
    with alone_in(folder.parent, doing="writes the shop"):
        if not folder.exists():
            write_shop(folder, n_items=240, n_users=300, seed=7)
    return folder


@pytest.fixture(scope="session")
def cache(workshop: Path) -> Path:
    """Encoded content and exported encoders, shared by all tests that need no cache of their own."""
    return workshop / "cache"


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Settings under which a small shop is fitted in a few seconds."""
    return (
        "train.epochs=40",
        "model.dim=32",
        "match.epochs=5",
        "match.folds=2",
        'baselines.models=["popularity", "item_knn", "content"]',
        "evaluation.bootstrap_samples=50",
    )


@pytest.fixture(scope="session")
def fitted(synthetic_shop: Path, quick: tuple[str, ...], cache: Path, workshop: Path) -> FitSummary:
    """The synthetic shop, fitted; to be read, never changed. Of several workers the others find it done."""
    from recsys.config import load_config
    from recsys.fit import fit

    return fit(synthetic_shop, out=workshop / "fit", config=load_config(None, quick), cache_dir=cache)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Writes and opens a bundle in which nothing is known but what the test says.

    `make_bundle(embeddings, prior=..., users=..., seen=[[rows], ...],
    lists={"published": ..., "image": ..., "text": ...},
    attributes=[{name: [values]}, ...], popularity=..., unavailable={rows}, together={(row, row): users})`; items are
    `i0`, `i1`, ..., users `u0`, `u1`, ..., titles `Item 0`, ...; a list is {row: [(row, score), ...]}.
    """
    from features.vocabulary import Vocabulary
    from recsys.bundle import Bundle
    from recsys.bundle_writer import write_bundle

    def padded(lists: dict[int, list[tuple[int, float]]], n_items: int) -> tuple[np.ndarray, np.ndarray]:
        width = max([1, *map(len, lists.values())])
        idx, score = np.full((n_items, width), -1), np.zeros((n_items, width), dtype=np.float32)
        for row, found in lists.items():
            for place, (other, value) in enumerate(found):
                idx[row, place], score[row, place] = other, value
        return idx, score

    def make(
        embeddings: np.ndarray,
        *,
        prior: Sequence[float] | None = None,
        users: np.ndarray | None = None,
        seen: Sequence[Sequence[int]] = (),
        lists: dict[str, dict[int, list[tuple[int, float]]]] | None = None,
        attributes: Sequence[dict[str, list[str]]] | None = None,
        popularity: Sequence[float] | None = None,
        unavailable: frozenset[int] = frozenset(),
        together: dict[tuple[int, int], int] | None = None,
        ranker: LinearRanker | None = None,
        standing: Standing | None = None,
    ) -> Bundle:
        items = np.asarray(embeddings, dtype=np.float32)
        n_items = len(items)
        people = np.zeros((0, items.shape[1])) if users is None else np.asarray(users)
        past = [*seen, *[[]] * (len(people) - len(seen))]
        pairs: dict[int, list[tuple[int, float]]] = {}
        for (a, b), count in (together or {}).items():
            pairs.setdefault(a, []).append((b, count))
        co_idx, co_count = padded(pairs, n_items)
        similar_idx, similar_score = padded((lists or {}).get("published", {}), n_items)
        nothing = np.zeros((n_items, 0), dtype=np.float32)
        number = len(list(tmp_path.glob("bundle*")))
        path = write_bundle(
            tmp_path / f"bundle{number}",
            items=Vocabulary(tuple(f"i{row}" for row in range(n_items))),
            users=Vocabulary(tuple(f"u{row}" for row in range(len(people)))),
            item_embeddings=items,
            item_prior=None if prior is None else np.asarray(prior, dtype=np.float32),
            user_embeddings=people.astype(np.float32),
            text_vectors=nothing,
            image_vectors=nothing,
            popularity=np.zeros(n_items, dtype=np.float32) if popularity is None else np.asarray(popularity),
            match_scores=np.full(n_items, np.nan, dtype=np.float32),
            display=[
                {
                    "item_id": f"i{row}",
                    "title": f"Item {row}",
                    "description": "",
                    "price": float("nan"),
                    "available": row not in unavailable,
                    "image": "",
                    "attributes": attributes[row] if attributes else {},
                }
                for row in range(n_items)
            ],
            seen=(
                np.concatenate([[0], np.cumsum([len(rows) for rows in past])]).astype(np.int64),
                np.array([row for rows in past for row in rows], dtype=np.int64),
            ),
            similar_idx=similar_idx,
            similar_score=similar_score,
            neighbors={name: padded(found, n_items) for name, found in (lists or {}).items() if name != "published"},
            co_idx=co_idx,
            co_count=co_count,
            config={},
            metrics={},
            fingerprints={},
            ranker=ranker,
            standing=standing,
        )
        return Bundle.open(path)

    return make


@pytest.fixture
def make_counters() -> Callable[..., CounterHistory]:
    """Makes counters of one surface, "feed", from rows (item, scenario, position, moment, shown, clicks)."""
    from features.vocabulary import Vocabulary
    from recsys.appeal.history import CounterHistory

    def make(
        rows: Sequence[tuple[str, str, int, float, float, float]], *, half_life_s: float = 1e9, window_s: float = 0.0
    ) -> CounterHistory:
        item, scenario, position, moment, shown, clicks = zip(*rows, strict=True)
        items, scenarios = list(dict.fromkeys(item)), ["", *sorted(set(scenario) - {""})]
        at, n_shown, n_clicks = (np.array(of, dtype=np.float64) for of in (moment, shown, clicks))
        return CounterHistory(
            items=Vocabulary(tuple(items)),
            scenarios=tuple(scenarios),
            surfaces=("feed",),
            item_idx=np.array([items.index(one) for one in item]),
            scenario_idx=np.array([scenarios.index(one) for one in scenario]),
            surface_idx=np.zeros(len(rows), dtype=np.int64),
            position=np.array(position),
            shown_s=at,
            known_s=at + window_s,
            shown=n_shown,
            clicks=n_clicks,
            fair_shown=n_shown,
            fair_clicks=n_clicks,
            randomized=0.0,
            half_life_s=half_life_s,
            window_s=window_s,
            until_s=float(at.max()),
        )

    return make


@pytest.fixture
def two_tastes(make_bundle: Callable[..., Bundle]) -> Bundle:
    """The checkerboard world: of `u0`..`u5` and `i0`..`i9`, even users like even items; lower rows score higher."""
    strength = 1 - 0.05 * np.arange(10)
    even = np.arange(10) % 2 == 0
    return make_bundle(
        np.stack([strength * even, strength * ~even], axis=1),
        users=np.array([[1.0, 0.0], [0.0, 1.0]] * 3),
        seen=[[0, 2], [1], [], [], [], []],
    )


@pytest.fixture(scope="session")
def searchable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `write_searchable` has written; not to be written to."""
    from tests.searchable import write_searchable

    folder = tmp_path_factory.mktemp("searchable")
    write_searchable(folder)
    return folder
