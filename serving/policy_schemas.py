"""The shapes of rules and experiments that go over the wire, beside the documents themselves."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from serving.asked import DEFAULT_K, MAX_K, Id
from serving.schemas import Shape


class AboutOut(Shape):
    """A version of a document."""

    version: int
    note: str
    created_s: float
    """UTC seconds."""
    active: bool


class RulesOut(Shape):
    """A rule set and the history of all."""

    version: int
    active: int
    """The version that holds; 0 where none was put yet."""
    rules: dict[str, Any]
    """As it was put; what was not said is left out."""
    history: list[AboutOut]
    """Newest first; empty while Redis is away."""


class ExperimentsOut(Shape):
    """Experiments and the history of all."""

    version: int
    active: int
    experiments: dict[str, Any]
    history: list[AboutOut]
    stopped: list[str]
    """Experiments that a guard-rail has stopped."""


class ChangedOut(Shape):
    """What became of a change."""

    version: int
    """The version that holds now."""
    warnings: list[str] = Field(default=[])
    """What does what it says, but perhaps not what was meant, such as a value that no item has."""


class RollbackIn(Shape):
    """Where to go back to."""

    to: int | None = Field(default=None, ge=1)
    """A version by its number; absent: the one that was active before."""


class TrialIn(Shape):
    """A request that rules are tried on, and the rules."""

    rules: dict[str, Any] | None = None
    """A rule set as it would be put; absent: a stored version."""
    version: int | None = Field(default=None, ge=0)
    """A stored version; absent: the active one."""
    item_id: Id | None = None
    """The item whose similar items are asked for; absent: a feed."""
    user_id: Id | None = None
    k: int = Field(default=DEFAULT_K, ge=1, le=MAX_K)
    scenario: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
    segments: list[str] | None = Field(default=None, max_length=20)
    """Groups the one who asks is taken to belong to; absent: those they do belong to."""
    now_s: float | None = Field(default=None, ge=0, le=1e11)
    """The moment, UTC seconds; absent: now."""


class MoveOut(Shape):
    """One item's place, from 1; null: not among the candidates."""

    item_id: str
    before: int | None
    after: int | None


class EffectOut(Shape):
    """What one rule does, after the rules before it."""

    rule: str
    action: str
    applies: bool
    why: str
    """Why it does not apply; empty where it does."""
    matched: int
    """Items of the catalog it is about."""
    n_moved: int
    """Candidates it takes away or moves."""
    moves: list[MoveOut]
    """The first hundred of them."""


class TrialOut(Shape):
    """One answer without any rule and with all of them, and what each does."""

    before: list[str]
    after: list[str]
    effects: list[EffectOut]
    warnings: list[str]


class ResultsOut(Shape):
    """What was counted."""

    experiments: list[dict[str, Any]]
    """Name, whether it runs, its arms with their counters (`attributed`: clicks that came of just what the arm showed,
    within the window, as `recsys log attribute` counts them), and what its guard-rails say."""
    holdout: dict[str, int] | None
    """Counters of the users that take part in nothing; null where nobody is held out."""
