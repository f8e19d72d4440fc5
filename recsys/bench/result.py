"""What one fit came to, on disk: a fit that was done is not done again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from features.checkpoint import fingerprint
from features.section import Section
from recsys.evaluation_json import plain
from recsys.run_folder import write_atomically


@dataclass(frozen=True, eq=False)
class Result:
    """One fit.

    Args:
        model: its name.
        config: all settings.
        seed: of the fit.
        valid: metrics on validation; None in place of NaN.
        test: metrics on test; empty for a fit that was only a trial.
        params: what the fit chose by itself.
        fit_s: seconds of fitting; of both fits where the model was fitted again.
        cpu_s: seconds of processor time of the same, of all threads: what a busy machine does not change much.
        peak_bytes: most memory by which the process grew while it fitted.
        looks: (epoch, validation recall) of each look, for a trial.
        ended_early: whether the trial was given up.
        users: int64 [n]; the users judged on test.
        per_user: metric → float64 [n]; what the test averages are taken of.
    """

    model: str
    config: dict[str, Any]
    seed: int
    valid: Mapping[str, float | None]
    test: Mapping[str, float | None] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    fit_s: float = float("nan")
    cpu_s: float = float("nan")
    peak_bytes: int = 0
    looks: tuple[tuple[int, float], ...] = ()
    ended_early: bool = False
    users: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    per_user: dict[str, NDArray[np.float64]] = field(default_factory=dict)


class Results:
    """A folder of results.

    Args:
        folder: where they lie.
        task: fingerprint of the task.
    """

    def __init__(self, folder: Path, task: str) -> None:
        self._folder, self._task = folder, task

    def key(self, model: str, config: Section, seed: int, stage: str) -> str:
        """Name of a fit: the same inputs and settings, the same name."""
        return f"{model}-{fingerprint(version('recsys'), self._task, config.model_dump_json(), str(seed), stage)[:16]}"

    def path(self, key: str) -> Path:
        """Folder of a fit's checkpoints while it runs."""
        return self._folder / key

    def get(self, key: str) -> Result | None:
        """The result of that name, None where it is not there (or was cut off while it was written)."""
        told, arrays = self._folder / f"{key}.json", self._folder / f"{key}.safetensors"
        if not told.is_file() or not arrays.is_file():
            return None
        values = orjson.loads(told.read_bytes())
        per_user = load_file(arrays)
        users = per_user.pop("users")
        looks = tuple((int(epoch), float(recall)) for epoch, recall in values.pop("looks"))
        return Result(**values, looks=looks, users=users, per_user=per_user)

    def put(self, key: str, result: Result) -> Result:
        """Keep a result, its JSON last, and return it as `get` will, so that sums are taken in one order forever."""
        self._folder.mkdir(parents=True, exist_ok=True)
        values = asdict(result)
        arrays = {"users": values.pop("users"), **values.pop("per_user")}
        save_file(arrays, self._folder / f"{key}.safetensors")
        write_atomically(self._folder / f"{key}.json", orjson.dumps(plain(values), option=orjson.OPT_INDENT_2))
        kept = self.get(key)
        assert kept is not None  # noqa: S101 - just written
        return kept
