"""Experiments: who gets which way of making answers, decided by a hash and by nothing else.

A user's number in an experiment is a keyed hash of salt and id, uniform on [0, 1). The same user always gets the same
arm; different salts give independent numbers, so experiments cross each other evenly. The holdout is drawn by a salt of
its own, before all of them: its users take part in none, and show what the sum of all experiments has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from features.section import Section
from recsys.diversity import DiversityConfig
from recsys.documents import Document, Window
from recsys.exploration import ExplorationConfig
from recsys.guard_rails import GuardRail
from recsys.recommendation import Part

HOLDOUT = "holdout"
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]


def unit_hash(salt: str, unit: str) -> float:
    """A number in [0, 1) that follows from salt and unit, uniform over units: 64 bits of BLAKE2b."""
    digest = hashlib.blake2b(unit.encode(), digest_size=8, key=hashlib.blake2b(salt.encode()).digest()[:32]).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


class Overrides(Section):
    """What an arm does otherwise; what it does not name stays as it is for everybody."""

    model: str | None = Field(default=None, min_length=1, max_length=64)
    """A published version to answer from."""
    rules: PositiveInt | None = None
    """A version of the rule set, by its number."""
    diversity: DiversityConfig | None = None
    exploration: ExplorationConfig | None = None
    weights: dict[Part, Weight] | None = None
    """How much each way of being alike counts for similar items, where a request names none."""

    @model_validator(mode="after")
    def _weigh_something(self) -> Overrides:
        if self.weights is not None and not any(self.weights.values()):
            raise ValueError("one of the weights must be > 0")
        return self


class Arm(Section):
    """One way of making answers."""

    name: Name
    weight: PositiveFloat = 1.0
    """Share of the experiment's traffic, beside the other arms' weights."""
    overrides: Overrides = Overrides()


class Experiment(Window):
    """A comparison; its first arm is the one others are held against."""

    name: Name
    salt: str = Field(default="", max_length=60)
    """Another salt shuffles the users anew; the name where empty."""
    scenarios: tuple[str, ...] = Field(default=(), max_length=100)
    """Surfaces ("similar", "feed") or scenarios in which it runs; everywhere where empty."""
    traffic: float = Field(default=1.0, gt=0, le=1)
    """Share of the users that takes part."""
    arms: tuple[Arm, ...] = Field(min_length=2, max_length=20)
    guard_rails: tuple[GuardRail, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _different_arms(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"arms of an experiment must have different names, {name!r} comes twice")
        return self

    def arm_of(self, unit: str) -> Arm | None:
        """The arm of a user; None where they take no part."""
        number = unit_hash(f"experiment {self.salt or self.name}", unit) / self.traffic
        if number >= 1:
            return None
        number *= sum(arm.weight for arm in self.arms)
        for arm in self.arms[:-1]:
            number -= arm.weight
            if number < 0:
                return arm
        return self.arms[-1]


@dataclass(frozen=True)
class Assignment:
    """What a request takes part in.

    Args:
        arms: experiment → arm; for a user of the holdout, "holdout" → "holdout" alone.
        overrides: what the arms change, put together.
    """

    arms: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)


_NO_PART = Assignment()


class Experiments(Document):
    """All experiments of a service."""

    holdout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the users that takes part in no experiment."""
    holdout_salt: str = Field(default="", max_length=60)
    experiments: tuple[Experiment, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _apart(self) -> Experiments:
        for place, one in enumerate(self.experiments):
            if one.name == HOLDOUT:
                raise ValueError(f"an experiment cannot be called {HOLDOUT!r}")
            for other in self.experiments[:place]:
                if one.name == other.name:
                    raise ValueError(f"experiments must have different names, {one.name!r} comes twice")
                both = _changed(one) & _changed(other)
                if both and _meet(one, other):
                    raise ValueError(
                        f"{other.name!r} and {one.name!r} both change {sorted(both)[0]}; "
                        "let them run in different scenarios or at different times"
                    )
        return self

    def assign(
        self, unit: str | None, *, scenarios: frozenset[str], now_s: float, stopped: frozenset[str]
    ) -> Assignment:
        """What a request takes part in.

        Args:
            unit: the user's id; None for a visitor without one, who takes part in nothing.
            scenarios: the surface and the scenario of the request.
            now_s: UTC seconds.
            stopped: experiments that a guard-rail has stopped.
        """
        if unit is None or not self.experiments:
            return _NO_PART
        if self._held_out(unit):
            return Assignment({HOLDOUT: HOLDOUT})
        arms: dict[str, str] = {}
        changed: dict[str, Any] = {}
        for experiment in self.experiments:
            meant = not experiment.scenarios or not scenarios.isdisjoint(experiment.scenarios)
            if not meant or experiment.name in stopped or not experiment.holds_at(now_s):
                continue
            arm = experiment.arm_of(unit)
            if arm is not None:
                arms[experiment.name] = arm.name
                changed |= {name: getattr(arm.overrides, name) for name in arm.overrides.model_fields_set}
        return Assignment(arms, Overrides.model_construct(**changed) if changed else Overrides())

    def arms_of(self, unit: str, *, now_s: float, stopped: frozenset[str]) -> dict[str, str]:
        """The arms a user is in, wherever on the site; see `Assignment.arms`."""
        if self._held_out(unit):
            return {HOLDOUT: HOLDOUT}
        running = (one for one in self.experiments if one.name not in stopped and one.holds_at(now_s))
        return {one.name: arm.name for one in running if (arm := one.arm_of(unit)) is not None}

    def _held_out(self, unit: str) -> bool:
        return self.holdout > 0 and unit_hash(f"holdout {self.holdout_salt}", unit) < self.holdout


def _changed(experiment: Experiment) -> set[str]:
    return {name for arm in experiment.arms for name in arm.overrides.model_fields_set}


def _meet(one: Experiment, other: Experiment) -> bool:
    """Whether a request may take part in both."""
    apart = one.scenarios and other.scenarios and set(one.scenarios).isdisjoint(other.scenarios)
    return not apart and max(one.begins_s, other.begins_s) < min(one.ends_s, other.ends_s)
