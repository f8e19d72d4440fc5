"""Choosing on validation: try values, judge each by recall, keep the best."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
import structlog

from recsys.baselines.config import BaselinesConfig
from recsys.evaluation import EvaluationConfig, evaluate
from recsys.held_out import Split
from recsys.scorer import Scorer

log = structlog.get_logger()
S = TypeVar("S", bound=Scorer)


class Search(Generic[S]):
    """The best scorer among those offered, by validation recall@k.

    Args:
        name: of the model, for logs.
        split: what is judged on: its validation side.
        config: list length, users and time budget.
        seed: of ties and of the sample of users.
        knows_new_items: whether the model can rank an item without training events. One that cannot has nothing to be
            chosen on where all validation pairs are of such items.
    """

    def __init__(
        self, name: str, split: Split, config: BaselinesConfig, *, seed: int, knows_new_items: bool = False
    ) -> None:
        self.name = name
        held, seen = split.valid.item_idx, np.bincount(split.train.item_idx, minlength=len(split.train.items)) > 0
        self.decides = len(held) > 0 if knows_new_items else bool(seen[held].any())
        """Whether there is anything to choose on; without, only the first value of each grid is worth fitting."""
        self.best: S | None = None
        self.best_params: dict[str, object] = {}
        self.best_recall = float("-inf")
        self._split = split
        self._metric = f"recall@{config.tuned_k}"
        self._config = EvaluationConfig(
            ks=(config.tuned_k,), bootstrap_samples=0, max_users=config.tuning_users, seed=seed
        )
        self._budget_s = config.time_budget_s
        self._started = time.perf_counter()
        self._tried = 0
        self._left_out = 0

    def offer(self, params: Mapping[str, object], scorer: S) -> float:
        """Judge a scorer and keep it if it is the best so far; the first of equals stays.

        Returns:
            Its validation recall@k, NaN where there is nothing to judge on.
        """
        self._tried += 1
        recall = evaluate(scorer, self._split, on="valid", config=self._config).metrics[self._metric]
        if self.best is None or recall > self.best_recall:
            self.best, self.best_params = scorer, dict(params)
            self.best_recall = recall if np.isfinite(recall) else float("-inf")
        return recall

    def may_try(self) -> bool:
        """Whether to fit a further value: always the first; later ones if there is something to choose on, and time."""
        if self.best is None:
            return True
        if not self.decides:
            return False
        if self._budget_s is not None and self.seconds > self._budget_s:
            self._left_out += 1
            return False
        return True

    @property
    def chosen(self) -> S:
        """The best scorer.

        Raises:
            ValueError: nothing usable was offered.
        """
        if self.best is None:
            raise ValueError(f"{self.name}: every value tried gave scores that are not finite, so none can be chosen")
        return self.best

    def report(self) -> dict[str, object]:
        """What was chosen, for the table (JSON-able)."""
        if self._left_out:
            log.warning(
                "tuning stopped by its time budget", model=self.name, budget_s=self._budget_s, left_out=self._left_out
            )
        chosen = {**self.best_params, "tried": self._tried}
        if self.decides:
            chosen[f"valid_{self._metric}"] = round(self.best_recall, 6)
        else:
            chosen["note"] = "nothing to choose on in the validation pairs"
        if self._left_out:
            chosen["left_out_by_time_budget"] = self._left_out
        log.info("baseline chosen", model=self.name, seconds=round(self.seconds, 1), **chosen)
        return chosen

    @property
    def seconds(self) -> float:
        """Seconds since the search began."""
        return time.perf_counter() - self._started
