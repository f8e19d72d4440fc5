"""What a GPU must give: the numbers of the CPU."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.csr import Adjacency, mean_of_layers, propagate
from graph.sampling.neighborhood import Neighborhood, Neighborhoods
from recsys.bench.indexed import bare_catalog
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge
from recsys.models.lightgcn import two_way
from recsys.models.model import Job, changed
from recsys.models.registry import MODELS
from recsys.sampled import drawn_ahead

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_propagation_and_its_gradient_are_those_of_the_cpu(layers: int) -> None:
    rng = np.random.default_rng(0)
    graph = two_way(sparse.csr_matrix((rng.random((60, 40)) < 0.1).astype(np.float32)))
    start, rows = torch.from_numpy(rng.standard_normal((100, 16)).astype(np.float32)), torch.tensor([5, 70, 5, 99])
    found = []
    for device in ("cpu", "cuda"):
        adjacency, x = Adjacency.of(graph, device=device), start.to(device).requires_grad_()
        picked = mean_of_layers(adjacency, x, layers, rows.to(device))
        (gradient,) = torch.autograd.grad(picked.square().sum() + propagate(adjacency, x).sum(), x)
        found.append((picked.detach().cpu(), gradient.cpu()))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "section", "changes"),
    [
        ("mf", "", {"loss": "softmax"}),
        ("lightgcn", "", {}),
        ("lightgcn", "", {"loss": "softmax"}),
        ("denoiser", "", {}),
        ("relational", "", {}),
        ("gnn", "train.", {}),
        ("lightgcn", "", {"sampling.fanouts": (4, 3, 2)}),
        ("lightgcn", "", {"loss": "softmax", "sampling.fanouts": (4, 3, 2), "sampling.others": 10}),
        ("gnn", "train.", {"train.sampling.fanouts": (4, 3), "train.sampling.others": 10}),
    ],
)
def test_a_short_fit_is_close_to_the_cpus(name: str, section: str, changes: dict[str, object], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((50, 30)) < 0.2)
    users, items = (Vocabulary(tuple(map(str, range(n)))) for n in (50, 30))
    events = Interactions(
        users, items, user, item, np.full(len(user), "view", object), np.ones(len(user), np.float32), None
    )
    nothing = events.where(np.zeros(0, dtype=np.int64))
    split, known = Split("all", events, nothing, nothing), Knowledge.of_ids(bare_catalog(items))
    scores = []
    for device in ("cpu", "cuda"):
        config = changed(MODELS[name].config, {**changes, f"{section}epochs": 4, f"{section}device": device})
        scores.append(MODELS[name].fit(split, known, config, Job(0, tmp_path / device)).score(np.arange(50)))
    assert np.abs(scores[0] - scores[1]).max() < 0.02 * scores[0].std()


@pytest.mark.parametrize("workers", [0, 2])
def test_neighborhoods_copied_ahead_are_those_that_were_drawn(workers: int) -> None:
    graph = two_way(sparse.csr_matrix((np.random.default_rng(0).random((300, 200)) < 0.1).astype(np.float32)))
    hoods, nothing = Neighborhoods({"likes": graph}, [5, 3]), torch.zeros((2, 0), dtype=torch.int64)
    x = torch.rand(500, 16)

    def draw(step: int) -> Neighborhood:
        rows = torch.from_numpy(np.random.default_rng(step).integers(0, 500, 64))
        return hoods.draw(rows, without=nothing, seed=step)

    assert draw(0).pin_memory().steps[0]["likes"].matrix.value.is_pinned()
    there = x.cuda()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
        for step, drawn in enumerate(drawn_ahead(draw, 20, workers=workers, device="cuda")):
            assert drawn.node.is_cuda
            for _ in range(20):  # the copy of the next one must not overtake this work
                there = there @ torch.eye(16, device="cuda")
            found = drawn.mean_of_layers(there[drawn.node], lambda relations, y: relations["likes"](y))
            here = draw(step)
            expected = here.mean_of_layers(x[here.node], lambda relations, y: relations["likes"](y))
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
