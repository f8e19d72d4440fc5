"""The flagship: closed forms, denoising item factors and the GNN, each with what it knows of content, as one blend.

Members see different things. The walk, EASE and the spectral filter (`recsys.linear`) are closed forms and, with side
rows, tie new items to old ones: the walk by near neighbors, the filter by tastes that many share; the denoiser
(`recsys.models.denoiser`) learns what an item says of others apart from what is said of it; the GNN
(`graph.models.kg_gnn`) learns users, attributes and content together. The weights are chosen on validation
(`recsys.blend`). Every member ranks every user, one without parameters of its own included, and a new item is ranked by
those members that place it by content; the denoiser, which does not, has it stand amid the others. Members that start
by chance are fitted several times, and the mean of their scores is one member: what they have in common is what the
data say. Further trained members, each a model under settings of its own, may be added: where there are many pairs,
networks of other widths and temperatures are mistaken about other users.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self, cast

import numpy as np
import structlog
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from features.errors import InputError
from features.section import Section
from recsys.blend import BlendConfig, BlendScorer, choose_blend, shortlists
from recsys.held_out import Split
from recsys.models import denoiser, freedom, lightgcn, mf, relational
from recsys.models import gnn as kg_gnn
from recsys.models.closed_form import Sides
from recsys.models.denoiser import DenoiserConfig, fit_denoiser
from recsys.models.ease import EASEConfig, fit_ease
from recsys.models.freedom import FreedomConfig, fit_freedom
from recsys.models.gnn import KGGNNConfig, fit_kg_gnn
from recsys.models.knowledge import Knowledge
from recsys.models.model import Job, Model, changed
from recsys.models.pairs import settled
from recsys.models.spectral import SpectralConfig, fit_spectral
from recsys.models.walk import WalkConfig, fit_walk
from recsys.scorer import EmbeddingScorer, Scorer
from recsys.threads import side_by_side
from recsys.trainer import chosen_device

log = structlog.get_logger()
MEMBERS = ("walk", "ease", "spectral", "denoiser", "gnn", "freedom")
"""All that may be named."""
TRAINED = ("denoiser", "gnn", "freedom")
"""Members that are trained step by step."""
FURTHER: dict[str, Model[Any]] = {
    model.name: model
    for model in (mf.MODEL, lightgcn.MODEL, freedom.MODEL, *denoiser.MODELS, kg_gnn.MODEL, relational.MODEL)
}
"""Models that a further member may be."""
BLEND = ("weights", "power", "cross_fit", "best_member", "evenness")
"""What is told of the blend itself, beside what is told of each member by its name."""
SEEDS_APART = 1_000_003
"""Between the seeds of two copies: far, so that fits under the seeds 0, 1, ... share none."""


class Further(Section):
    """One more trained member."""

    model: str
    """Which model it is, by its name in the comparison."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Field → value, in place of the model's defaults; a field of a section within is named "section.field"."""

    @model_validator(mode="after")
    def _there(self) -> Self:
        if self.model not in FURTHER:
            raise ValueError(f"model must be one of {', '.join(FURTHER)}, got {self.model!r}")
        try:
            self.config()
        except (AttributeError, TypeError) as error:
            raise ValueError(f"settings must be of {self.model}, got {self.settings}: {error}") from error
        return self

    def config(self) -> Section:
        """The model's settings."""
        config: Section = changed(FURTHER[self.model].config, self.settings)
        return config


class FlagshipConfig(Section):
    """Its members and their blend."""

    walk: WalkConfig = WalkConfig()
    ease: EASEConfig = EASEConfig()
    spectral: SpectralConfig = SpectralConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    gnn: KGGNNConfig = KGGNNConfig()
    gnn_dense: KGGNNConfig = changed(KGGNNConfig(), {**kg_gnn.DENSE, "train.max_candidates": 65_536})
    """The GNN's setting where a user has `dense_from` training pairs or more, in the mean."""
    freedom: FreedomConfig = FreedomConfig(
        loss="softmax",
        temperature=0.35,
        learning_rate=0.02,
        start=0.003,
        penalty=1e-3,
        image_share=0.3,
        dropped=0.5,
        content_weight=2.5e-4,
    )
    """By the softmax; where items have no content it is LightGCN over thinned edges."""
    dense_from: NonNegativeFloat = 20.0
    trained_max_pairs: NonNegativeInt = 600_000
    """With more training pairs the trained members take minutes an epoch on a CPU, and are left out there."""
    trained_max_pairs_cuda: NonNegativeInt = 20_000_000
    """The same where they are trained on CUDA."""
    members: tuple[str, ...] = Field(default=MEMBERS[:-1], min_length=1)
    """Who may take part."""
    further: dict[str, Further] = Field(default_factory=dict)
    """More trained members beside those of `members`, by names of their own."""
    copies: PositiveInt = 2
    """Fits of each trained member, each under a seed of its own, whose mean is the member."""
    blend: BlendConfig = BlendConfig()
    weights: dict[str, NonNegativeFloat] | None = None
    """Weights of the members by name, in place of chosen ones; who has none is not fitted. Without validation pairs and
    without these, all members weigh the same."""
    power: PositiveFloat = 1.0
    """Exponent of the standardized scores where the weights are given."""

    @field_validator("members")
    @classmethod
    def _known(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        for name in members:
            if name not in MEMBERS:
                raise ValueError(f"members must be of {', '.join(MEMBERS)}, got {name!r}")
        return members

    @model_validator(mode="after")
    def _weighted(self) -> Self:
        for name in self.further:
            if name in (*MEMBERS, *BLEND):
                raise ValueError(f"further members must have names of their own, got {name!r}")
        names = [*self.members, *self.further]
        for name, weight in (self.weights or {}).items():
            if weight > 0 and name not in names:
                raise ValueError(f"weights must be of members ({', '.join(names)}), got {name!r}: {weight:g}")
        return self

    def most_pairs(self, device: str) -> int:
        """Training pairs with which the trained members take part on "cpu" or "cuda"."""
        return self.trained_max_pairs_cuda if device.startswith("cuda") else self.trained_max_pairs

    def dense(self, split: Split) -> bool:
        """Whether a data set takes the GNN's dense setting. That one does not learn to place new items, so where most
        validation pairs are of items without training events it is the other.
        """
        met = np.bincount(split.train.item_idx, minlength=len(split.train.items)) > 0
        if len(split.valid) and met[split.valid.item_idx].mean() < 0.5:
            return False
        return len(split.train) >= self.dense_from * max(len(np.unique(split.train.user_idx)), 1)


def fit_flagship(split: Split, known: Knowledge, config: FlagshipConfig, job: Job) -> BlendScorer:
    """Fit the members, then choose their weights on the validation pairs.

    Raises:
        InputError: none of the members that may take part can be fitted.
    """
    started = time.perf_counter()
    sides = Sides.of(known, neighbors=config.walk.neighbors)
    wider = sides.with_users(known.user_attributes, len(split.train.users))
    quiet = Job(job.seed, job.run_dir)
    dense = config.dense(split)
    gnn = config.gnn_dense if dense else config.gnn
    makers: dict[str, Callable[[], Scorer]] = {
        "walk": lambda: fit_walk("walk", split, sides, config.walk, quiet),
        "ease": lambda: fit_ease("ease", split, wider, config.ease, quiet),
        "spectral": lambda: fit_spectral("spectral", split, sides, config.spectral, quiet),
        "denoiser": lambda: _copied(
            lambda one: fit_denoiser("denoiser", split, known, config.denoiser, one), quiet, config.copies
        ),
        "gnn": lambda: _copied(lambda one: fit_kg_gnn(split, known, gnn, one), quiet, config.copies),
        "freedom": lambda: _copied(lambda one: fit_freedom(split, known, config.freedom, one), quiet, config.copies),
    }
    wanted = [name for name in makers if name in config.members]
    for name, one in config.further.items():
        makers[name] = partial(_copied_further, one, split, known, quiet, config.copies)
        wanted.append(name)
    if config.weights is not None:
        wanted = [name for name in wanted if config.weights.get(name, 0.0) > 0]
    trained_names = (*TRAINED, *config.further)
    device = chosen_device(gnn.train.device)
    if config.weights is None and len(split.train) > config.most_pairs(device):
        wanted = [name for name in wanted if name not in trained_names]
    if not wanted:
        raise InputError(
            f"flagship.members must have one that can be fitted, got {', '.join(config.members)}: those with a weight, "
            f"and trained ones only up to {config.most_pairs(device):,} training pairs, there are {len(split.train):,}"
        )

    def fitted(names: Sequence[str]) -> dict[str, Scorer]:
        found: dict[str, Scorer] = {}
        for name in names:
            found[name] = makers[name]()
            log.info("member fitted", model="flagship", member=name, seconds=round(time.perf_counter() - started, 1))
        return found

    solved, trained = ([name for name in wanted if (name in trained_names) is kind] for kind in (False, True))
    if device.startswith("cuda"):  # they have no use for each other's device
        apart = side_by_side(fitted, [solved, trained])
        members = {name: one for part in apart for name, one in part.items()}
    else:
        members = fitted([*solved, *trained])
    scorers = list(members.values())
    told: dict[str, float] = {}
    power = config.power
    if config.weights is not None:
        weights = np.array([config.weights[name] for name in members])
    elif len(split.valid):
        lists = shortlists(scorers, split, config.blend, seed=job.seed)
        weights, power, told = choose_blend(lists, config.blend, seed=job.seed)
    else:
        weights = np.full(len(scorers), 1 / len(scorers))
    by_name = {name: round(float(weight), 6) for name, weight in zip(members, weights, strict=True)}
    log.info("blend chosen", model="flagship", power=power, **by_name, **told)
    kept = {name: weight for name, weight in zip(members, weights, strict=True) if weight > 0}
    params: dict[str, Any] = {
        "weights": {name: by_name[name] for name in kept},
        "power": power,
        **told,
        **{name: dict(members[name].params) for name in kept},
    }
    if "gnn" in kept:
        params["gnn"]["dense"] = dense
    scorers, weights = [members[name] for name in kept], np.array(list(kept.values()))
    return BlendScorer("flagship", scorers, weights, power, params, time.perf_counter() - started)


def _copied_further(one: Further, split: Split, known: Knowledge, job: Job, copies: int) -> EmbeddingScorer:
    model, config = FURTHER[one.model], one.config()
    return _copied(lambda part: cast("EmbeddingScorer", model.fit(split, known, config, part)), job, copies)


def _copied(fit: Callable[[Job], EmbeddingScorer], job: Job, copies: int) -> EmbeddingScorer:
    """Fits under several seeds, as one."""
    return as_one([fit(replace(job, seed=job.seed + SEEDS_APART * number)) for number in range(copies)])


def as_one(fitted: Sequence[EmbeddingScorer]) -> EmbeddingScorer:
    """Embeddings side by side: their dot product is the mean of the dot products."""
    first, epochs = fitted[0], [one.params["best_epoch"] for one in fitted if "best_epoch" in one.params]
    params = dict(first.params)
    if len(fitted) > 1 and epochs:
        names = dict.fromkeys(name for one in fitted for name in one.params)
        params = {name: [one.params.get(name) for one in fitted] for name in names}
        params |= {"best_epochs": epochs, "best_epoch": round(float(np.mean(np.array(epochs))))}
    users = np.hstack([one.user_embeddings for one in fitted]) / np.float32(len(fitted))
    return EmbeddingScorer(first.name, users, np.hstack([one.item_embeddings for one in fitted]), params=params)


def _settled(config: FlagshipConfig, params: Mapping[str, Any]) -> FlagshipConfig:
    """Every member and weight as it was chosen."""
    settle: dict[str, Callable[[Any, Mapping[str, object]], Section]] = {
        "walk": WalkConfig.settled,
        "ease": EASEConfig.settled,
        "spectral": SpectralConfig.settled,
        "denoiser": settled,
        "freedom": settled,
    }
    members: dict[str, Any] = {
        name: one(getattr(config, name), params[name]) for name, one in settle.items() if name in params
    }
    further = {name: one for name, one in config.further.items() if name in params}
    for name, one in further.items():
        chosen = FURTHER[one.model].settle(one.config(), params[name])
        further[name] = one.model_copy(update={"settings": chosen.model_dump()})
    members["further"] = further
    if "gnn" in params:  # in one setting, also where the last fit has more pairs a user
        gnn = kg_gnn.MODEL.settle(config.gnn_dense if params["gnn"]["dense"] else config.gnn, params["gnn"])
        members |= {"gnn": gnn, "gnn_dense": gnn}
    return config.model_copy(update={**members, "weights": params["weights"], "power": params["power"]})


MODEL = Model(
    "flagship",
    "a blend, chosen on validation, of walk, EASE, spectral filter, denoiser and GNN, all with side information",
    FlagshipConfig(),
    fit_flagship,
    uses=frozenset({"text", "image", "audio", "match", "attributes", "item_graph", "other_behavior"}),
    settle=_settled,
)
