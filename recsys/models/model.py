"""What a model is to everything that compares models: a name, settings, a fit, and where better settings may lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from features.section import Section
from recsys.held_out import Split
from recsys.models.knowledge import Knowledge, Part
from recsys.scorer import Scorer
from recsys.trainer import Watch

if TYPE_CHECKING:
    from optuna import Trial

C = TypeVar("C", bound=Section)
Changes = Mapping[str, Any]
"""Field → value; a field of a section within is named "section.field"."""


@dataclass(frozen=True)
class Job:
    """One fit.

    Args:
        seed: of every random choice.
        run_dir: where checkpoints go; a fit cut off goes on from there.
        watch: told of every look at validation; what it raises ends the fit.
    """

    seed: int
    run_dir: Path
    watch: Watch | None = None


Fit = Callable[[Split, Knowledge, C, Job], Scorer]
"""Learns from the training side; the validation side decides when to stop, and what a model tunes by itself. The test
side is not looked at. Without validation pairs everything is done as configured."""


def _same(config: C, params: Mapping[str, object]) -> C:  # noqa: ARG001 - one of several that share a signature
    return config


def _nothing(trial: Trial) -> Changes:  # noqa: ARG001
    return {}


@dataclass(frozen=True, eq=False)
class Model(Generic[C]):
    """One entry of the registry.

    Args:
        name: key in tables.
        summary: what it is, in one line, with its source.
        config: the default settings, tried first.
        fit: fits it.
        search: draws other settings to try; none for a model without settings, or one that tunes itself.
        starts: further settings that are tried before any is drawn.
        uses: parts of the knowledge that make a difference to it.
        needs_content: whether it is senseless without any modality.
        seeded: whether its result depends on the seed; one that does not is fitted once.
        settle: the settings under which a fit without validation pairs repeats what a fit with them came to, from its
            settings and its scorer's `params`.
    """

    name: str
    summary: str
    config: C
    fit: Fit[C]
    search: Callable[[Trial], Changes] = _nothing
    starts: tuple[Changes, ...] = ()
    uses: frozenset[Part] = frozenset()
    needs_content: bool = False
    seeded: bool = True
    settle: Callable[[C, Mapping[str, object]], C] = _same

    @property
    def tunable(self) -> bool:
        """Whether there are settings to search."""
        return self.search is not _nothing or bool(self.starts)


def changed(config: C, changes: Changes) -> C:
    """The settings with some of them changed, validated anew.

    Raises:
        ValidationError: a setting does not exist or cannot have its value.
    """
    values = config.model_dump()
    for name, value in changes.items():
        *sections, field = name.split(".")
        inner = values
        for section in sections:
            inner = inner.setdefault(section, {})  # one that is not used is not dumped
        inner[field] = value
    return type(config).model_validate(values)
