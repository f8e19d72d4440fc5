"""Settings chosen on validation: the defaults and known good ones first, then Optuna's draws (Akiba et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import structlog
from optuna.trial import TrialState

from features.section import Section
from recsys.bench.result import Result, Results
from recsys.bench.run import GivenUp, trial
from recsys.bench.task import Task
from recsys.models.model import Changes, changed
from recsys.models.registry import MODELS
from recsys.trainer import Entry

log = structlog.get_logger()


@dataclass(frozen=True)
class Choice:
    """What tuning came to.

    Args:
        config: the best settings.
        changes: what differs from the defaults.
        tried: settings tried, those given up included.
        seconds: spent on trying, over all runs.
        left_out: draws that the time budget did not allow.
    """

    config: Section
    changes: dict[str, Any] = field(default_factory=dict)
    tried: int = 0
    seconds: float = 0.0
    left_out: int = 0


def choose(
    task: Task, name: str, config: Section, *, trials: int, budget_s: float | None, results: Results, seed: int = 0
) -> Choice:
    """Try settings one after the other, and take those with the best validation recall@20; the first of equals.

    Trials that were done before are not done again. The draws follow from the seed and the earlier trials' results, so
    a choice that was cut off comes to the same end, unless a time budget ends it.

    Args:
        task: the data set; its test side is not looked at.
        name: of the model.
        config: its default settings.
        trials: draws after the defaults and the model's other known good settings.
        budget_s: no further draw is tried after so many seconds; None for as many as it takes.
        results: where trials are kept.
        seed: of draws and fits.
    """
    model = MODELS[name]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4, multivariate=False),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=20),
    )
    tried: list[tuple[float, dict[str, Any], float]] = []

    def attempt(changes: Changes, drawn: optuna.Trial | None = None) -> Result:
        settings = changed(config, changes)
        key = results.key(name, settings, seed, "trial")
        result = results.get(key)
        if result is None:
            done = trial(task, name, settings, seed=seed, run_dir=results.path(key), watch=_watch(drawn))
            result = results.put(key, done)
        elif drawn is not None:
            for epoch, recall in result.looks:
                drawn.report(recall, epoch)
        reached = result.valid["recall@20"]
        tried.append((float("-inf") if reached is None or result.ended_early else reached, dict(changes), result.fit_s))
        log.info("settings tried", model=name, recall=reached, given_up=result.ended_early, **changes)
        return result

    for changes in ({}, *model.starts):
        attempt(changes)
    left_out = 0
    spent = sum(seconds for *_, seconds in tried)
    for number in range(trials):
        if budget_s is not None and spent > budget_s:
            left_out = trials - number
            log.warning("tuning stopped by its time budget", model=name, budget_s=budget_s, left_out=left_out)
            break
        drawn = study.ask()
        result = attempt(model.search(drawn), drawn)
        spent += result.fit_s
        if result.ended_early:
            study.tell(drawn, state=TrialState.PRUNED)
        else:
            study.tell(drawn, result.valid["recall@20"])
    _, best, _ = max(tried, key=lambda one: one[0])
    return Choice(changed(config, best), best, len(tried), spent, left_out)


def _watch(drawn: optuna.Trial | None) -> Callable[[Entry], None] | None:
    """Tells Optuna of every look, and gives up where most others were better at that epoch."""
    if drawn is None:
        return None

    def watch(entry: Entry) -> None:
        drawn.report(entry["recall@20"], int(entry["epoch"]))
        if drawn.should_prune():
            raise GivenUp

    return watch
