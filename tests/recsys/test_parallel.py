from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from recsys.bundle import Bundle
from recsys.config import load_config
from recsys.fit import fit
from recsys.models.mf import MF, MFConfig
from recsys.models.pairs import PairLearner
from recsys.negatives import Batch
from recsys.parallel import Team, team
from recsys.run_folder import RunFolder


@pytest.fixture(scope="module")
def train() -> Interactions:
    """Some users with many liked items and some with few, of different weights."""
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((11, 9)) < np.linspace(0.1, 0.9, 11)[:, None])
    names = (Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in (("u", 11), ("i", 9)))
    weight = rng.integers(1, 6, len(user)).astype(np.float32)
    return Interactions(*names, user, item, np.full(len(user), "like", dtype=object), weight)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_mean_of_the_teams_gradients_is_that_of_the_whole_batch(
    train: Interactions, loss: str, weights: bool
) -> None:
    config = MFConfig.model_validate(
        {
            "loss": loss,
            "dim": 4,
            "batch_pairs": 20,
            "batch_users": 6,
            "min_steps": 2,
            "penalty": 0.1,
            "event_weights": weights,
        }
    )

    def gradients(who: Team) -> list[list[torch.Tensor]]:
        learner = PairLearner(MF(11, 9, config, seed=0), train, config, team=who)
        steps = []
        for lost in learner.epoch(np.random.default_rng(5)):
            learner.model.zero_grad()
            lost.backward()  # type: ignore[no-untyped-call]
            steps.append([lost.detach(), *(p.grad.clone() for p in learner.model.parameters() if p.grad is not None)])
        return steps

    alone, parts = gradients(Team()), [gradients(Team(rank, 3)) for rank in range(3)]
    assert len(alone) == len(parts[0]) >= 2
    for number, step in enumerate(alone):
        for place, whole in enumerate(step):
            mean = torch.stack([part[number][place] for part in parts]).mean(dim=0)
            torch.testing.assert_close(mean, whole, rtol=1e-4, atol=1e-6)


def test_a_part_of_a_batch_holds_its_users_pairs_and_all_candidates() -> None:
    batch = Batch(
        np.array([7, 3, 5]),
        np.array([0, 2, 4]),
        np.zeros(3, dtype=np.float32),
        np.array([0, 0, 1, 2]),
        np.array([1, 2, 0, 1]),
        np.array([1, 1, 5, 3], dtype=np.float32),
    )
    part, mine, share = batch.part(Team(0, 2))
    assert (part.users.tolist(), part.items.tolist()) == ([7, 5], [0, 2, 4])
    assert (part.user.tolist(), part.item.tolist()) == ([0, 0, 1], [1, 2, 1])
    assert mine.tolist() == [True, True, False, True]
    assert share == pytest.approx(2 * 5 / 10)
    assert batch.part(Team(1, 2))[0].users.tolist() == [3]


def test_more_processes_than_rows_are_refused() -> None:
    with pytest.raises(InputError, match="3 processes need as many rows in each training step, one has 2"):
        Team(0, 3).part(2)


def test_a_process_that_nobody_started_in_a_team_is_alone() -> None:
    assert team() == Team(0, 1)
    assert (team().mean(0.5), team().agree(2.0)) == (0.5, 2.0)


TRAINING = """
import sys
from pathlib import Path

import numpy as np

from features.catalog import Attributes, Catalog
from features.interactions import Interactions
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.models.kg_gnn import GNNConfig
from recsys.parallel import team
from recsys.training import TrainConfig, fit_gnn

users, items = (Vocabulary.of(f"{kind}{row}" for row in range(n)) for kind, n in (("u", 40), ("i", 20)))
rng = np.random.default_rng(0)
liked = rng.random((40, 20)) < np.where(np.arange(40)[:, None] % 2 == np.arange(20) % 2, 0.5, 0.05)


def events(rows):
    user, item = np.nonzero(rows)
    n = len(user)
    return Interactions(users, items, user, item, np.full(n, "like", dtype=object), np.ones(n, dtype=np.float32))


valid = liked & (rng.random(liked.shape) < 0.2)
blank, none = np.full(20, "", dtype=object), np.full(20, np.nan)
catalog = Catalog(items, blank, blank, blank, none, np.ones(20, dtype=bool), Attributes.of([]))
folder = Path(sys.argv[1])
fitted = fit_gnn(
    build_graph(catalog, events(liked & ~valid), Attributes.of([]), {}, GraphConfig()),
    graph_config=GraphConfig(),
    content=np.eye(20, 4, dtype=np.float32),
    train=events(liked & ~valid),
    valid=events(valid),
    config=TrainConfig(epochs=12, batch_users=10),
    model_config=GNNConfig(dim=8),
    run_dir=folder / "runs",
    seed=0,
)
if team().leads:
    np.save(folder / "items.npy", fitted.item_embeddings)
    np.save(folder / "history.npy", [[entry["loss"], entry["recall@20"]] for entry in fitted.history])
print(f"process {team().rank} of {team().size}")
"""


def test_two_processes_come_to_the_numbers_of_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINING)
    found: dict[int, dict[str, np.ndarray]] = {}
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if size == 2 else []
        done = subprocess.run(
            [sys.executable, *start, str(tmp_path / "train.py"), str(folder)],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert all(f"process {rank} of {size}" in done.stdout for rank in range(size))
        assert len(list(folder.glob("runs/*/checkpoint.safetensors"))) == 1
        found[size] = {name: np.load(folder / f"{name}.npy") for name in ("items", "history")}
    np.testing.assert_allclose(found[2]["history"], found[1]["history"], rtol=1e-3)
    np.testing.assert_allclose(found[2]["items"], found[1]["items"], atol=1e-3)
    assert np.ptp(found[1]["history"][:, 0]) > 0.05  # it learned something


def test_a_whole_fit_of_two_processes_leaves_the_bundle_of_one(
    synthetic_shop: Path, quick: tuple[str, ...], cache: Path, tmp_path: Path
) -> None:
    settings = [*quick, "train.epochs=6", "train.evaluate_every=3", "alternatives=[]"]
    one = fit(synthetic_shop, out=tmp_path / "one", config=load_config(None, settings), cache_dir=cache)
    asked = [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "recsys"),
            *("fit", str(synthetic_shop), "--out", str(tmp_path / "two"), "--cache", str(cache), *asked),
        ],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("bundle  ") == 1, "one process leads, the other takes part"
    alone, together = Bundle.open(one.folder.bundle), Bundle.open(tmp_path / "two" / "bundle")
    for name in ("item_embeddings", "user_embeddings", "item_prior"):
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=2e-3)
    assert together.items == alone.items
    judged = RunFolder(tmp_path / "two").read_evaluation()["models"]["gnn"]["test"]["recall@20"]
    assert judged == pytest.approx(one.evaluation["models"]["gnn"]["test"]["recall@20"], abs=0.005)
