from __future__ import annotations

import numpy as np
import pytest

from recsys.ctr.flagship import Flagship, FlagshipConfig, fit_flagship
from recsys.ctr.knowledge import FactGraph
from recsys.ctr.metrics import auc
from recsys.ctr.model import Task
from recsys.ctr.ratings import Ratings
from recsys.ctr.signals import Signals

RANKS = (4, 8)


def test_signals_are_their_formulas_on_dense_matrices(
    sides: tuple[Ratings, Ratings, Ratings], facts: FactGraph
) -> None:
    train, valid, _ = sides
    signals = Signals(train, facts.item_facts(), ranks=RANKS, seed=0)
    u, i = valid.user_idx[::-1], valid.item_idx[::-1]
    of = dict(zip(signals.names, signals.of(u, i).T.astype(np.float64), strict=True))

    r = train.matrix(1).toarray().astype(np.float64)
    n_u, n_i = r.sum(axis=1), r.sum(axis=0)
    roots = np.sqrt(np.maximum(n_i, 1e-300))
    np.testing.assert_allclose(of["popularity"], np.log(n_i + 0.3)[i], rtol=1e-5)
    taste = [np.log(n_i + 0.3)[row > 0].mean() if row.any() else 0.0 for row in r]
    np.testing.assert_allclose(of["taste"], np.array(taste)[u], rtol=1e-5)
    both = r.T @ r
    np.fill_diagonal(both, 0)
    both = np.where(n_i[:, None] > 0, both / roots[:, None], 0)
    np.testing.assert_allclose(of["neighbors"], np.log((r @ both)[u, i] + 0.05), rtol=1e-5)
    filtered = np.where(r > 0, r / np.sqrt(np.maximum(n_u, 1))[:, None] / np.maximum(roots, 1e-150), 0)
    vectors = np.linalg.svd(filtered, full_matrices=False)[2]
    for rank in RANKS:
        low = filtered @ vectors[:rank].T @ vectors[:rank] * np.sqrt(n_i)
        np.testing.assert_allclose(of[f"spectral_{rank}"], low[u, i], rtol=1e-4, atol=1e-6)
    f = facts.item_facts().toarray()
    weighted = f / np.sqrt(np.maximum(f.sum(axis=0), 1))
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, 0)
    np.testing.assert_allclose(of["alike"], np.log((r @ alike)[u, i] + 0.02), rtol=1e-4)
    np.testing.assert_allclose(of["alike_liked"], np.log(alike @ n_i + 0.1)[i], rtol=1e-4)
    np.testing.assert_allclose(of["n_facts"], np.log(f.sum(axis=1) + 1)[i], rtol=1e-5)


QUICK = FlagshipConfig(folds=4, ranks=RANKS)


def task(sides: tuple[Ratings, Ratings, Ratings], facts: FactGraph, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Task(sides[0], sides[1], facts, 0, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def given(sides: tuple[Ratings, Ratings, Ratings], facts: FactGraph, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return task(sides, facts, tmp_path_factory)


@pytest.fixture(scope="module")
def fitted(given: Task) -> Flagship:
    return fit_flagship("flagship", given, QUICK)


def test_taste_that_only_the_facts_know_is_found(fitted: Flagship, sides: tuple[Ratings, Ratings, Ratings]) -> None:
    test = sides[2]
    assert auc(test.label, fitted.probability(test.user_idx, test.item_idx)) > 0.9
    assert max(fitted.gains(), key=lambda name: fitted.gains()[name]) == "alike"
    assert sum(fitted.gains().values()) == pytest.approx(1)


def test_a_pairs_own_label_is_not_in_its_signals(given: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]] = []
    plain = Signals.of

    def watched(self: Signals, user_idx: np.ndarray, item_idx: np.ndarray) -> np.ndarray:
        known = set(zip(*(rows.tolist() for rows in self._liked.nonzero()), strict=True))
        asked.append((known, set(zip(user_idx.tolist(), item_idx.tolist(), strict=True))))
        return plain(self, user_idx, item_idx)

    monkeypatch.setattr(Signals, "of", watched)
    fit_flagship("flagship", given, QUICK)
    train = set(zip(given.train.user_idx.tolist(), given.train.item_idx.tolist(), strict=True))
    assert len(asked) == QUICK.folds + 1  # and the validation pairs
    assert set().union(*(pairs for _, pairs in asked[:-1])) == train
    assert all(not known & pairs for known, pairs in asked)


def test_one_seed_gives_the_same_numbers(given: Task, fitted: Flagship) -> None:
    again = fit_flagship("flagship", given, QUICK)
    rows = given.valid.user_idx, given.valid.item_idx
    np.testing.assert_array_equal(again.probability(*rows), fitted.probability(*rows))


def test_what_the_drawing_of_dislikes_gives_away_is_used_only_where_asked(given: Task, fitted: Flagship) -> None:
    drawn = fit_flagship("drawn", given, QUICK.model_copy(update={"drawn_dislikes": True}))
    assert set(drawn.names) - set(fitted.names) == {"unmatched_dislikes", "rated"}
    user = int(given.train.user_idx[0])
    own = given.train.user_idx == user
    row = drawn.sense(np.array([user]), np.array([0]))[0]
    label = given.train.label[own]
    assert row[drawn.names.index("unmatched_dislikes")] == (label == 0).sum() - (label == 1).sum()
    assert row[drawn.names.index("rated")] == own.sum()
