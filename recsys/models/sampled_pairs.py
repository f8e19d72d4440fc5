"""The pair models' training on drawn neighborhoods (`recsys/sampled.py`): their losses, from a batch's embeddings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from graph.sampling.neighborhood import Neighborhood, Neighborhoods
from recsys.models.pairs import PairConfig, PairLearner, PairModel, Scored
from recsys.negatives import draw_others
from recsys.sampled import Draw, Epoch, LikedPairs, SamplingConfig, drawn_ahead, first_met


class SampledPairConfig(PairConfig):
    """Settings of a pair model that can be trained on drawn neighborhoods."""

    sampling: SamplingConfig = SamplingConfig.field()


class SampledPairModel(PairModel):
    """A pair model whose embeddings can be told from a neighborhood.

    Its graph has users, then items, in one numbering.
    """

    neighborhoods: Neighborhoods

    @abstractmethod
    def near(self, drawn: Neighborhood) -> torch.Tensor:
        """Embeddings of the rows that a neighborhood was drawn for, float [n_rows, dim]."""


class SampledPairLearner(PairLearner):
    """The steps of a pair model on drawn neighborhoods; made as a `PairLearner` is."""

    model: SampledPairModel
    _config: SampledPairConfig

    @cached_property
    def _pairs(self) -> LikedPairs:
        time = first_met(self._train, self._liked) if self._config.sampling.past else None
        min_steps = self._config.min_steps if self._config.loss == "softmax" else 1
        return LikedPairs(self._liked, time, min_steps=min_steps)

    def _by_pairs(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        epoch = self._pairs.epoch(self._config.batch_pairs, rng)
        others = draw_others(self._liked, self._pair_user, self._chance, rng)

        def draw(step: int) -> Neighborhood:
            mine = epoch.runs[step][self._team.part(len(epoch.runs[step]))]
            items = np.concatenate([self._pairs.item[mine], others[mine]])
            return self._drawn(epoch, step, self._pair_user[mine], items, epoch.rng(step))

        for batch, drawn in zip(epoch.runs, self._ahead(draw, epoch), strict=True):
            user, liked, other = self._triples(batch, others)
            yield self._bpr(self._scored(drawn, len(user)), batch, user, liked, other)

    def _by_users(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        sampling = self._config.sampling
        epoch = self._pairs.epoch(sampling.batch_pairs, rng)

        def draw(step: int) -> Neighborhood:
            chance = epoch.rng(step)
            part = self._pairs.batch(epoch.runs[step], sampling.others, chance).part(self._team)[0]
            return self._drawn(epoch, step, part.users, part.items, chance)

        for step, drawn in enumerate(self._ahead(draw, epoch)):
            batch = self._pairs.batch(epoch.runs[step], sampling.others, epoch.rng(step))
            others = rng.integers(len(batch.items), size=len(batch.item))
            yield self._against(self._scored(drawn, len(batch.part(self._team)[0].users)), batch, others)

    def _drawn(
        self, epoch: Epoch, step: int, users: NDArray[np.int64], items: NDArray[np.int64], chance: np.random.Generator
    ) -> Neighborhood:
        """For users, then items; the whole batch's pairs are hidden, whoever's part they are."""
        n_users, run = self._liked.shape[0], epoch.runs[step]
        return self.model.neighborhoods.draw(
            torch.from_numpy(np.concatenate([users, n_users + items])),
            without=torch.from_numpy(np.stack([self._pairs.user[run], n_users + self._pairs.item[run]])),
            seed=int(chance.integers(2**62)),
            before=epoch.cut(step),
        )

    def _ahead(self, draw: Draw, epoch: Epoch) -> Iterator[Neighborhood]:
        return drawn_ahead(draw, len(epoch.runs), workers=self._config.sampling.workers, device=self._device)

    def _scored(self, drawn: Neighborhood, n_users: int) -> Scored:
        z = self.model.near(drawn)
        return Scored(z[:n_users], z[n_users:])
