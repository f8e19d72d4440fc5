"""The graph network of `recsys fit` (graph/models/kg_gnn.py), on the knowledge graph of any data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.errors import InputError
from graph.models.kg_gnn import GNNConfig
from recsys.held_out import Split
from recsys.linear.history import Recency, faded
from recsys.models.knowledge import Knowledge
from recsys.models.model import Changes, Job, Model
from recsys.models.on_graph import OnGraphConfig
from recsys.scorer import EmbeddingScorer
from recsys.trainer import told
from recsys.training import TrainConfig, fit_gnn

if TYPE_CHECKING:
    from optuna import Trial


class KGGNNConfig(OnGraphConfig):
    """Settings of the GNN and of its graph."""

    model: GNNConfig = GNNConfig()
    train: TrainConfig = TrainConfig()
    recency: Recency = 0.0
    """How much less a user's older items weigh, as in the closed forms: in the graph, and with `train.event_weights` in
    the loss. 0: all alike."""


DENSE: Changes = {
    "model.item_prior": False,
    "train.temperature": 0.15,
    "train.learning_rate": 0.02,
    "train.hidden_share": 0.0,
    "train.content_dropout": 0.0,
}
"""What suits dense shops; the defaults suit sparse ones."""


def _search(trial: Trial) -> Changes:
    return {
        "model.item_prior": trial.suggest_categorical("item_prior", [True, False]),
        "model.layers": trial.suggest_int("layers", 1, 3),
        "model.look_alikes": trial.suggest_float("look_alikes", 0.05, 1.0, log=True),
        "model.item_facts": trial.suggest_float("item_facts", 0.05, 1.0, log=True),
        "train.temperature": trial.suggest_float("temperature", 0.08, 0.4, log=True),
        "train.learning_rate": trial.suggest_float("learning_rate", 5e-3, 4e-2, log=True),
        "train.hidden_share": trial.suggest_categorical("hidden_share", [0.0, 0.2]),
        "train.content_dropout": trial.suggest_categorical("content_dropout", [0.0, 0.5]),
        "graph.together": trial.suggest_categorical("together", [0, 10]),
    }


def fit_kg_gnn(split: Split, known: Knowledge, config: KGGNNConfig, job: Job) -> EmbeddingScorer:
    """Train on the graph of the training side; the best epoch as embeddings."""
    if config.recency and config.train.sampling.past:
        raise InputError("recency counts from a user's last item, which train.sampling.past does not know")
    if known.other_behavior is not None and config.train.sampling.past:
        raise InputError(
            "train.sampling.past shows what was before a batch, of other behavior (--beside) it knows nothing"
        )
    train = faded(split.train, config.recency)
    graph = config.graph_of(train, known)
    fitted = fit_gnn(
        graph,
        graph_config=config.graph,
        content=known.content(image_share=config.model.image_share),
        train=train,
        valid=split.valid,
        config=config.train,
        model_config=config.model,
        run_dir=job.run_dir,
        seed=job.seed,
        watch=job.watch,
    )
    params = told(fitted.history, fitted.best_epoch, cut_short=fitted.cut_short)
    return EmbeddingScorer("gnn", fitted.user_embeddings, fitted.item_embeddings, params=params)


def _settled(config: KGGNNConfig, params: Mapping[str, object]) -> KGGNNConfig:
    epochs = params.get("best_epoch") or config.train.epochs
    train = config.train.model_copy(update={"epochs": epochs, "time_budget_s": None})
    return config.model_copy(update={"train": train})


MODEL = Model(
    "gnn",
    "the GNN of `recsys fit`: LightGCN over typed relations and content, softmax over directions",
    KGGNNConfig(),
    fit_kg_gnn,
    search=_search,
    starts=(DENSE,),
    uses=frozenset({"text", "image", "audio", "match", "attributes", "item_graph", "other_behavior"}),
    settle=_settled,
)
