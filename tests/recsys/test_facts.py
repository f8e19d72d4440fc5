from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import sparse

from features.catalog import Attributes, Catalog
from features.encoders.embeddings import Embeddings
from features.errors import InputError
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.vocabulary import Vocabulary
from recsys.bench.indexed import bare_catalog
from recsys.blend import standardized
from recsys.held_out import Split
from recsys.models.facts import Facts, thinned, told
from recsys.models.flagship import SEEDS_APART, FlagshipConfig, as_one
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.scorer import EmbeddingScorer


def known_of(vectors: np.ndarray, facts: Attributes, traits: Attributes) -> Knowledge:
    n = len(vectors)
    blank = np.full(n, "", dtype=object)
    names = Vocabulary.of(f"i{row}" for row in range(n))
    catalog = Catalog(names, blank, blank, blank, np.full(n, np.nan), np.ones(n, dtype=bool), facts)
    text = Embeddings(vectors, np.asarray(vectors.any(axis=1)), "by hand")
    return Knowledge(catalog, traits, {"text": text}, MatchScores.unknown(n))


def test_values_are_told_by_idf_where_enough_have_them() -> None:
    facts = Attributes.of(
        [(row, "color", "red") for row in (0, 1)] + [(row, "use", "tea") for row in (0, 1, 2)] + [(3, "color", "blue")]
    )
    traits = Attributes.of([(0, "sex", "f"), (2, "sex", "f"), (1, "sex", "m")])
    vectors = np.eye(4, dtype=np.float32)
    found = Facts.of(known_of(vectors, facts, traits), 3, content_dim=2, min_owners=2)
    red, tea = np.log(4 / 2), np.log(4 / 3)  # blue has one owner
    both = np.hypot(red, tea)
    expected = [[red / both, tea / both], [red / both, tea / both], [0, 1], [0, 0]]
    assert found.items.toarray() == pytest.approx(np.array(expected), abs=1e-6)
    assert found.users.toarray().tolist() == [[1], [0], [1]]


def test_content_keeps_its_leading_directions_at_mean_length_1_and_nothing_stays_nothing() -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    found = Facts.of(known_of(vectors, Attributes.of([]), Attributes.of([])), 2, content_dim=3, min_owners=1)
    length = np.linalg.norm(found.content, axis=1)
    assert found.content.shape == (30, 3)
    assert length[7] == 0
    assert length[length > 0].mean() == pytest.approx(1, abs=1e-5)
    assert (found.items.shape, found.users.shape) == ((30, 0), (2, 0))


def test_what_rows_are_told_is_the_weighted_sum_of_their_values() -> None:
    values = sparse.csr_matrix([[1, 0.5], [0, 0], [0, 2]], dtype=np.float32)
    table = torch.tensor([[1.0, 10.0], [2.0, 20.0]], requires_grad=True)
    sums = told(values[[2, 0, 1]], table)
    assert sums.tolist() == [[4, 40], [2, 20], [0, 0]]
    sums.sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    assert table.grad.tolist() == [[1, 1], [2.5, 2.5]]


def test_a_share_of_what_users_did_is_shown_and_where_there_is_nothing_nothing_is_drawn() -> None:
    did = sparse.csr_matrix(np.ones((40, 50), dtype=np.float32))
    rng = np.random.default_rng(0)
    shown = thinned(did, 0.3, rng)
    assert shown.shape == did.shape
    assert set(shown.data.tolist()) == {1.0}
    assert shown.nnz / did.nnz == pytest.approx(0.3, abs=0.04)
    before = rng.bit_generator.state
    assert thinned(did[:, :0], 0.3, rng).shape == (40, 0)
    assert rng.bit_generator.state == before


def test_copies_as_one_score_the_mean_of_their_scores() -> None:
    rng = np.random.default_rng(1)
    copies = [
        EmbeddingScorer(
            "gnn",
            rng.random((3, 2), dtype=np.float32),
            rng.random((4, 2), dtype=np.float32),
            params={"best_epoch": epoch, "valid_recall@20": 0.1 * epoch},
        )
        for epoch in (3, 6)
    ]
    users = np.array([2, 0])
    one = as_one(copies)
    assert one.score(users) == pytest.approx((copies[0].score(users) + copies[1].score(users)) / 2, abs=1e-6)
    told_of = {"best_epoch": 4, "best_epochs": [3, 6], "valid_recall@20": [pytest.approx(0.3), pytest.approx(0.6)]}
    assert dict(one.params) == told_of


def events(user: list[int], item: list[int]) -> Interactions:
    """Of three users and eight items."""
    users, items = (Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in (("u", 3), ("i", 8)))
    n = len(user)
    rows = np.array(user, dtype=np.int64), np.array(item, dtype=np.int64)
    return Interactions(users, items, *rows, np.full(n, "like", dtype=object), np.ones(n, dtype=np.float32))


@pytest.mark.parametrize(("new_pairs", "dense"), [(0, True), (1, True), (3, False)])
def test_the_gnn_is_set_to_place_new_items_where_validation_asks_for_them(new_pairs: int, dense: bool) -> None:
    """Three users with two of four items each; the held-out items are new ones or items 0 and 1."""
    train = events([0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 2, 3])
    held = [
        (0, 5) if new_pairs > 0 else (0, 2),
        (1, 6) if new_pairs > 1 else (1, 0),
        (2, 7) if new_pairs > 2 else (2, 1),
    ]
    valid = events([user for user, _ in held], [item for _, item in held])
    config = FlagshipConfig(dense_from=2)
    assert config.dense(Split("by hand", train, valid, events([], []))) is dense


@pytest.mark.parametrize(
    ("n_pairs", "device", "trained"), [(600_000, "cpu", True), (600_001, "cpu", False), (600_001, "cuda", True)]
)
def test_big_data_are_left_to_the_closed_forms_where_there_is_no_gpu(n_pairs: int, device: str, trained: bool) -> None:
    assert (n_pairs <= FlagshipConfig().most_pairs(device)) is trained


def test_a_member_of_the_flagship_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValidationError, match=r"members must be of walk, .*, got 'wlak'"):
        FlagshipConfig(members=("wlak", "gnn"))


def test_a_weight_of_nobody_who_takes_part_is_named() -> None:
    with pytest.raises(ValidationError, match=r"weights must be of members \(walk, ease, .*\), got 'freedom': 0.5"):
        FlagshipConfig(weights={"walk": 0.5, "freedom": 0.5})


def test_where_no_member_can_be_fitted_it_is_told_why(tmp_path: Path) -> None:
    split = Split("by hand", events([0, 1, 2], [0, 1, 2]), events([0], [1]), events([], []))
    config = changed(FlagshipConfig(), {"members": ["gnn"], "trained_max_pairs": 2, "trained_max_pairs_cuda": 2})
    with pytest.raises(InputError, match=r"got gnn: .* only up to 2 training pairs, there are 3"):
        MODELS["flagship"].fit(split, Knowledge.of_ids(bare_catalog(split.train.items)), config, Job(0, tmp_path))


def test_only_the_named_members_take_part(tmp_path: Path) -> None:
    split = Split(
        "by hand", events([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 0]), events([0, 1, 2], [2, 2, 1]), events([], [])
    )
    config = changed(FlagshipConfig(), {"members": ["walk", "spectral"]})
    known = Knowledge.of_ids(bare_catalog(split.train.items))
    params: Any = MODELS["flagship"].fit(split, known, config, Job(0, tmp_path)).params
    assert set(params["weights"]) <= {"walk", "spectral"}


def test_members_fitted_beside_each_other_are_those_fitted_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split(
        "by hand", events([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 0]), events([0, 1, 2], [2, 2, 1]), events([], [])
    )
    quick = {"members": ["walk", "gnn"], "copies": 1, "gnn.train.epochs": 2, "gnn.model.dim": 4}
    known, scores = Knowledge.of_ids(bare_catalog(split.train.items)), []
    for device in ("cpu", "cuda"):  # what is trained goes by the config's device, so this chooses the way alone
        monkeypatch.setattr("recsys.models.flagship.chosen_device", lambda _, device=device: device)
        fitted = MODELS["flagship"].fit(split, known, changed(FlagshipConfig(), quick), Job(0, tmp_path / device))
        scores.append(fitted.score(np.arange(3)))
    assert np.array_equal(*scores)


@pytest.mark.parametrize("content", [True, False])
def test_freedom_may_be_a_member_with_content_or_without_and_its_epochs_are_kept(content: bool, tmp_path: Path) -> None:
    split = Split(
        "by hand", events([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 0]), events([0, 1, 2], [2, 2, 1]), events([], [])
    )
    ids = Knowledge.of_ids(bare_catalog(split.train.items))
    text = Embeddings(np.eye(len(ids.catalog), dtype=np.float32), np.ones(len(ids.catalog), dtype=np.bool_), "by hand")
    config = changed(FlagshipConfig(), {"members": ["freedom"], "freedom.epochs": 10, "freedom.neighbors": 1})
    known = replace(ids, modalities={"text": text}) if content else ids
    params: Any = MODELS["flagship"].fit(split, known, config, Job(0, tmp_path)).params
    assert params["weights"] == {"freedom": 1.0}
    assert MODELS["flagship"].settle(config, params).freedom.epochs == params["freedom"]["best_epoch"] <= 10


@pytest.mark.parametrize("dense", [True, False])
def test_the_last_fit_has_the_epochs_and_the_gnn_setting_that_were_chosen(dense: bool) -> None:
    """However dense the last fit's data are, it repeats the setting of the first."""
    told = {"weights": {"gnn": 1.0}, "power": 0.5, "gnn": {"dense": dense, "best_epoch": 7}}
    settled = MODELS["flagship"].settle(FlagshipConfig(), told)
    for gnn in (settled.gnn, settled.gnn_dense):
        assert gnn.train.epochs == 7
        assert gnn.model.item_prior is not dense
    assert (settled.weights, settled.power) == ({"gnn": 1.0}, 0.5)


FURTHER = {"narrow": {"model": "lightgcn", "settings": {"loss": "softmax", "dim": 4, "epochs": 3}}}


def test_further_members_are_weighed_like_the_others_and_the_last_fit_repeats_them(tmp_path: Path) -> None:
    split = Split(
        "by hand", events([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 0]), events([0, 1, 2], [2, 2, 1]), events([], [])
    )
    config = changed(FlagshipConfig(), {"members": ["walk"], "further": FURTHER, "copies": 2})
    known = Knowledge.of_ids(bare_catalog(split.train.items))
    alone = changed(config, {"weights": {"narrow": 1.0}})
    fitted = MODELS["flagship"].fit(split, known, alone, Job(0, tmp_path))
    told: Any = fitted.params
    assert told["weights"] == {"narrow": 1.0}
    assert len(told["narrow"]["best_epochs"]) == 2
    settled = MODELS["flagship"].settle(alone, told)
    assert settled.further["narrow"].config().epochs == told["narrow"]["best_epoch"]
    assert settled.further["narrow"].config().dim == 4
    both: Any = MODELS["flagship"].fit(split, known, config, Job(0, tmp_path)).params
    assert set(both["weights"]) <= {"walk", "narrow"}
    one = MODELS["lightgcn"]
    copies = [
        one.fit(split, known, changed(one.config, FURTHER["narrow"]["settings"]), Job(seed, tmp_path / "apart"))
        for seed in (0, SEEDS_APART)
    ]
    users = np.arange(3)
    mean = sum(copy.score(users) for copy in copies) / 2
    assert np.allclose(fitted.score(users), standardized(mean.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"gnn": {"model": "gnn"}}, r"further members must have names of their own, got 'gnn'"),
        ({"power": {"model": "gnn"}}, r"further members must have names of their own, got 'power'"),
        ({"wide": {"model": "walk"}}, r"model must be one of mf, lightgcn, .*, got 'walk'"),
        ({"wide": {"model": "gnn", "settings": {"model.dimm": 4}}}, "model.dimm"),
        ({"wide": {"model": "gnn", "settings": {"modell.dim": 4}}}, "modell"),
        ({"wide": {"model": "gnn", "settings": {"model.dim.x": 4}}}, r"settings must be of gnn, got .*model.dim.x"),
        ({"wide": {"model": "gnn", "settings": {"model.dim.x.y": 4}}}, r"settings must be of gnn, got .*model.dim.x.y"),
    ],
)
def test_a_further_member_that_cannot_be_is_named(further: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FlagshipConfig(further=further)
