"""Compare models: choose settings, fit under every seed, take away what is known part by part, and tell."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from features.errors import InputError
from features.progress import bar
from features.section import Section
from recsys.bench.result import Result, Results
from recsys.bench.run import ProcessEndedError, apart, end_all, final, shared_cores
from recsys.bench.table import write_tables
from recsys.bench.task import Task
from recsys.bench.tuning import Choice, choose
from recsys.models.knowledge import Part
from recsys.models.model import Model, changed

log = structlog.get_logger()
ID_ONLY = "ids only"


@dataclass(frozen=True)
class BenchConfig:
    """What a comparison does.

    Args:
        seeds: fits a model, under the seeds 0, 1, ...; a model without chance is fitted once.
        trials: settings drawn for each model that has settings to search.
        time_budget_s: after so many seconds no further settings are tried for a model, and a training stops; None for
            as long as it takes.
        ablation: whether models are also fitted without each part of their knowledge.
        settings: model → field → value, in place of its defaults.
        jobs: fits at a time, each with its share of the cores.
    """

    seeds: int = 3
    trials: int = 8
    time_budget_s: float | None = 300.0
    ablation: bool = False
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: int = 1


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is known of one model so far.

    Args:
        model: the model.
        choice: its settings; None where it could not be fitted.
        results: one a seed.
        ablated: what was taken away → one result a seed.
        failure: why it has no results, "" where it has.
    """

    model: Model[Any]
    choice: Choice | None = None
    results: tuple[Result, ...] = ()
    ablated: dict[str, tuple[Result, ...]] = field(default_factory=dict)
    failure: str = ""


def compare_models(task: Task, models: Sequence[Model[Any]], config: BenchConfig, *, out: Path) -> dict[str, Any]:
    """Compare models, leaving `bench.json` and `bench.md`, which are written anew after each model.

    A model that fails leaves its reason in the tables, and the others go on.

    Args:
        task: the data set.
        models: in the order of the tables.
        config: how much is done.
        out: where everything is left; what is there already is not done again.

    Returns:
        The content of bench.json; see `recsys.bench.table.bench_json`.
    """
    results = Results(out / "runs", task.fingerprint())
    outcomes: list[Outcome] = []
    written: dict[str, Any] = {}
    fits, waiting = ThreadPoolExecutor(config.jobs), ThreadPoolExecutor(config.jobs)
    with bar("compare models", total=len(models)) as progress, shared_cores(config.jobs):
        try:
            coming = [waiting.submit(_outcome, task, model, config, results, fits) for model in models]
            for number, (model, outcome) in enumerate(zip(models, coming, strict=True)):
                progress.note(model.name)
                outcomes.append(outcome.result())
                written = write_tables(task, outcomes, config, out=out, complete=number + 1 == len(models))
                progress.advance()
        except KeyboardInterrupt:  # it reaches this thread alone, and the others wait for their fits
            end_all()
            raise
        finally:
            for pool in (waiting, fits):
                pool.shutdown(cancel_futures=True)
    return written


def _outcome(task: Task, model: Model[Any], config: BenchConfig, results: Results, fits: Executor) -> Outcome:
    if model.needs_content and not task.known.modalities:
        return Outcome(model, failure="it needs words, pictures or sounds of the items, and the data set has none")
    default, seeds = _default(model, config), config.seeds if model.seeded else 1
    try:
        choice = Choice(default)
        if model.tunable and (config.trials or model.starts):
            choice = fits.submit(_choice, task, model, default, config, results).result()
        coming = {"final": _fits(task, model, choice.config, results, fits, stage="final", seeds=seeds)}
        if config.ablation:
            for label, parts in ablations(task, model).items():
                less = replace(task, known=task.known.without(*parts))
                coming[label] = _fits(less, model, choice.config, results, fits, stage=label, seeds=seeds)
        fitted = {label: tuple(one.result() for one in each) for label, each in coming.items()}
    except InputError:
        raise
    except (ProcessEndedError, ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
        failure = f"{type(error).__name__}: {error}"
        log.error("model failed", model=model.name, why=failure)
        return Outcome(model, failure=failure)
    return Outcome(model, choice, fitted.pop("final"), fitted)


def _choice(task: Task, model: Model[Any], default: Section, config: BenchConfig, results: Results) -> Choice:
    """In a process of its own, too."""
    budget_s = config.time_budget_s
    return apart(choose, task, model.name, default, trials=config.trials, budget_s=budget_s, results=results)


def ablations(task: Task, model: Model[Any]) -> dict[str, tuple[Part, ...]]:
    """What is taken away from a model, by label: each part that is there and that it uses, and then all of them."""
    parts = tuple(part for part in task.known.parts if part in model.uses)
    if not parts:
        return {}
    single: dict[str, tuple[Part, ...]] = {f"no {part.replace('_', ' ')}": (part,) for part in parts}
    return single | {ID_ONLY: parts} if len(parts) > 1 else single


def _default(model: Model[Any], config: BenchConfig) -> Section:
    budget = {} if config.time_budget_s is None else budgets(model.config, config.time_budget_s)
    default: Section = changed(model.config, {**budget, **config.settings.get(model.name, {})})
    return default


def budgets(config: Section, seconds: float) -> dict[str, float]:
    """Every time budget among the settings and their sections that is not set, as changes that set it."""
    found: dict[str, float] = {}
    for name, value in config:
        if isinstance(value, Section):
            found |= {f"{name}.{inner}": given for inner, given in budgets(value, seconds).items()}
        elif name == "time_budget_s" and value is None:
            found[name] = seconds
    return found


def _fits(
    task: Task, model: Model[Any], config: Section, results: Results, fits: Executor, *, stage: str, seeds: int
) -> list[Future[Result]]:
    """One result to come a seed, each from a process of its own."""

    def fit(seed: int) -> Result:
        key = results.key(model.name, config, seed, stage)
        kept = results.get(key)
        if kept is not None:
            return kept
        fitted = apart(final, task, model.name, config, seed=seed, run_dir=results.path(key))
        return results.put(key, fitted)

    return [fits.submit(fit, seed) for seed in range(seeds)]
