"""One fit, measured: a trial on validation, or the final one that is judged on test."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog
import torch

from features.interactions import Interactions
from features.interrupts import helpers_deaf_to_ctrl_c
from features.progress import log_to_stderr
from features.section import Section
from recsys.bench.memory import Growth
from recsys.bench.result import Result
from recsys.bench.task import TOLD_LEFT_OUT, Task
from recsys.evaluation import Evaluation, EvaluationConfig, Side, evaluate
from recsys.held_out import Split
from recsys.models.model import Job
from recsys.models.registry import MODELS
from recsys.scorer import Scorer
from recsys.trainer import Entry, Watch

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which NumPy's and PyTorch's libraries learn how many threads to use."""
JUDGED = EvaluationConfig(ks=(10, 20, 50), bootstrap_samples=0)
"""How the final fits are judged; intervals are taken over all seeds together."""
VALID_JUDGED = JUDGED.model_copy(update={"max_users": 10_000})
"""The same on validation, which is told beside test and decides nothing more: there a sample of users is enough."""
CHOSEN_BY = EvaluationConfig(ks=(20,), bootstrap_samples=0, max_users=10_000)
"""How trials are judged."""


class ProcessEndedError(Exception):
    """A process ended without a result."""


class GivenUp(Exception):  # noqa: N818 - no error: a trial that promises nothing is ended
    """Ends a trial from its watch."""


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a new process, so that its memory is its own.

    Raises:
        ProcessEndedError: the process was killed, such as by the system for lack of memory.
        KeyboardInterrupt: `end_all` was called, or Ctrl-C pressed.
    """
    if _ending.is_set():
        raise KeyboardInterrupt
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            with helpers_deaf_to_ctrl_c():
                coming = pool.submit(function, *args, **kwargs)
            return coming.result()
        except BrokenProcessPool as error:
            if _ending.is_set():
                raise KeyboardInterrupt from error
            raise ProcessEndedError("its process was ended from outside, perhaps for lack of memory") from error
        except KeyboardInterrupt:
            end_all()
            raise


_ending = threading.Event()
"""Whether this program is ending its processes itself."""


def end_all() -> None:
    """End the processes of every `apart` under way, whose callers see a KeyboardInterrupt: this program is ending."""
    _ending.set()
    for process in active_children():
        process.terminate()


@contextmanager
def shared_cores(jobs: int) -> Iterator[None]:
    """Processes started inside use as many threads as each of so many jobs has cores, unless the environment says how
    many. A single job uses them all.
    """
    given = {name: str(max((os.cpu_count() or 1) // jobs, 1)) for name in THREADS if name not in os.environ}
    if jobs > 1:
        os.environ.update(given)
    try:
        yield
    finally:
        for name in given if jobs > 1 else ():
            os.environ.pop(name, None)


def _begin() -> None:
    """Log as the parent does, and take a step: the first one makes PyTorch load much, which is no model's time."""
    log_to_stderr()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes; they end themselves."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def trial(task: Task, name: str, config: Section, *, seed: int, run_dir: Path, watch: Watch | None = None) -> Result:
    """Fit on the training side and judge on validation.

    Args:
        task: the data set.
        name: of the model.
        config: its settings.
        seed: of the fit.
        run_dir: for checkpoints; removed when the fit is done.
        watch: told of every look at validation; raises `GivenUp` to end the trial.
    """
    looks: list[tuple[int, float]] = []

    def watched(entry: Entry) -> None:
        looks.append((int(entry["epoch"]), entry["recall@20"]))
        if watch is not None:
            watch(entry)

    growth, started, used = Growth(), time.perf_counter(), time.process_time()
    result = Result(name, config.model_dump(mode="json"), seed, {})
    try:
        scorer = MODELS[name].fit(task.split, task.known, config, Job(seed, run_dir, watched))
    except GivenUp:
        result = replace(result, valid={"recall@20": max(recall for _, recall in looks)}, ended_early=True)
    else:
        valid = evaluate(scorer, task.split, on="valid", config=CHOSEN_BY).metrics
        result = replace(result, valid=valid, params=dict(scorer.params))
    shutil.rmtree(run_dir, ignore_errors=True)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return replace(result, fit_s=seconds, cpu_s=cpu, peak_bytes=growth.bytes(), looks=tuple(looks))


def final(task: Task, name: str, config: Section, *, seed: int, run_dir: Path) -> Result:
    """Fit, fit again on training and validation where the task wants it, and judge on both sides.

    Args:
        task: the data set.
        name: of the model.
        config: its settings.
        seed: of the fit.
        run_dir: for checkpoints; removed when the fit is done.
    """
    model = MODELS[name]
    growth, started, used = Growth(), time.perf_counter(), time.process_time()
    scorer = model.fit(task.split, task.known, config, Job(seed, run_dir / "chosen"))
    judged_on, last = task.split, scorer
    if task.final is not None:
        settled = model.settle(config, scorer.params)
        judged_on, last = task.final, model.fit(task.final, task.known, settled, Job(seed, run_dir / "final"))
    seconds, cpu, peak = time.perf_counter() - started, time.process_time() - used, growth.bytes()
    test = judged(last, judged_on, task.told, on="test", config=JUDGED)
    result = Result(
        name,
        config.model_dump(mode="json"),
        seed,
        judged(scorer, task.split, task.told, on="valid", config=VALID_JUDGED).metrics,
        test=test.metrics,
        params=dict(scorer.params),
        fit_s=seconds,
        cpu_s=cpu,
        peak_bytes=peak,
        users=test.user_idx,
        per_user=test.per_user,
    )
    shutil.rmtree(run_dir, ignore_errors=True)
    reached = {metric: round(test.metrics[metric], 4) for metric in ("recall@20", "ndcg@20")}
    log.info("judged", model=name, seed=seed, fit_s=round(seconds, 1), **reached)
    return result


def judged(
    scorer: Scorer, split: Split, told: Interactions | None, *, on: Side, config: EvaluationConfig
) -> Evaluation:
    """As `evaluate`; where other behavior is told, with further metrics, marked `TOLD_LEFT_OUT`, of the ranking without
    the items that it shows of the user.
    """
    whole = evaluate(scorer, split, on=on, config=config)
    if told is None:
        return whole
    less = evaluate(scorer, split, on=on, config=config, left_out=told)
    return replace(
        whole,
        metrics=whole.metrics | {f"{name}{TOLD_LEFT_OUT}": value for name, value in less.metrics.items()},
        per_user=whole.per_user | {f"{name}{TOLD_LEFT_OUT}": values for name, values in less.per_user.items()},
    )
