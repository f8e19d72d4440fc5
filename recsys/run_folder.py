"""Where a fit leaves what it makes: the one place that spells the names of these files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from features.aside import replacing
from features.errors import InputError

CACHE = Path(".recsys/cache")
"""Encoded words and pictures, shared by all fits started in one folder."""


@dataclass(frozen=True)
class RunFolder:
    """The folder given as `--out`."""

    path: Path

    def __post_init__(self) -> None:
        """Refuse a file before anything is done.

        Raises:
            InputError: there is a file of this name.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out must be a folder, {self.path} is a file")

    @property
    def bundle(self) -> Path:
        """What serving needs; see `recsys/bundle.py`."""
        return self.path / "bundle"

    @property
    def evaluation(self) -> Path:
        """Every model's metrics as JSON."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The same as a page with plots."""
        return self.path / "report.html"

    @property
    def quarantine(self) -> Path:
        """Every refused row, with the rule it broke."""
        return self.path / "quarantine.jsonl"

    @property
    def runs(self) -> Path:
        """Checkpoints, to resume from."""
        return self.path / "runs"

    @property
    def _request(self) -> Path:
        return self.path / "fit.json"

    def remember(self, request: dict[str, Any]) -> None:
        """Keep what was asked of the fit, so that `recsys evaluate` and a second fit know."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._request, orjson.dumps(request, option=orjson.OPT_INDENT_2))

    def done(self, request: dict[str, Any]) -> bool:
        """Whether exactly this was asked before and completed, and its bundle and evaluation are still here."""
        return (
            self._request.is_file()
            and self.request() == {**request, "done": True}
            and (self.bundle / "manifest.json").is_file()
            and self.evaluation.is_file()
            and self.report.is_file()
        )

    def read_evaluation(self) -> dict[str, Any]:
        """The content of `evaluation.json`.

        Raises:
            InputError: there is none.
        """
        if not self.evaluation.is_file():
            raise InputError(f"{self.evaluation}: is missing; run recsys fit or recsys evaluate first")
        evaluation: dict[str, Any] = orjson.loads(self.evaluation.read_bytes())
        return evaluation

    def request(self) -> dict[str, Any]:
        """What was asked of the fit.

        Raises:
            InputError: nothing was ever fitted into this folder.
        """
        if not self._request.is_file():
            raise InputError(
                f"{self.path}: nothing was fitted here ({self._request.name} is missing): run recsys fit first"
            )
        try:
            remembered: dict[str, Any] = orjson.loads(self._request.read_bytes())
        except orjson.JSONDecodeError as error:
            raise InputError(f"{self._request}: is damaged ({error}); remove it and run recsys fit again") from error
        return remembered


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader meets the old content or the new, never half of it."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)
