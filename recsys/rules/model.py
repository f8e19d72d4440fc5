"""A rule set as a shop writes it, in TOML or JSON.

    [[rules]]
    name = "nothing for adults"
    hide = "tag:adult"

    [[rules]]
    name = "garden in spring"
    boost = "category under Garden"
    factor = 3
    when = { scenarios = ["home"], start = 2026-03-01T00:00:00Z, end = 2026-06-01T00:00:00Z }

    [[rules]]
    name = "two of a brand"
    cap = "brand"
    at_most = 2

    [[rules]]
    name = "the hero"
    pin = "sku-481"
    slot = 1

Hard filters (`keep`, `hide`) come first, then `boost` and `bury`, then `cap` and `pin`; see `recsys/rules/book.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from features.section import Section
from recsys.diversity import DiversityConfig
from recsys.documents import Document, Window
from recsys.exploration import ExplorationConfig
from recsys.rules.nodes import reads_texts
from recsys.rules.occasion import Occasion
from recsys.rules.seen import SeenPolicy
from recsys.rules.syntax import parse
from recsys.rules.tokens import MAX_CHARS, ExpressionError

MAX_RULES = 500
Action = Literal["keep", "hide", "boost", "bury", "cap", "pin"]
ACTIONS: tuple[Action, ...] = ("keep", "hide", "boost", "bury", "cap", "pin")
"""In the order in which they are applied; of one kind, in the order of the set."""
_BELONGS: Mapping[str, tuple[Action, ...]] = {
    "factor": ("boost", "bury"),
    "at_most": ("cap",),
    "depth": ("cap",),
    "slot": ("pin",),
}
Expression = Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]


class When(Window):
    """When a rule applies; without a word, always."""

    scenarios: tuple[Name, ...] = Field(default=(), max_length=100)
    """Surfaces ("similar", "feed") or scenarios of requests; one of them suffices."""
    segments: tuple[Name, ...] = Field(default=(), max_length=100)
    """Groups the one who asks must belong to; one of them suffices."""

    def holds(self, occasion: Occasion) -> bool:
        """Whether it applies to a request."""
        return (
            (not self.scenarios or not occasion.scenarios.isdisjoint(self.scenarios))
            and (not self.segments or not occasion.segments.isdisjoint(self.segments))
            and self.holds_at(occasion.now_s)
        )


class Rule(Section):
    """One rule: exactly one of `keep`, `hide`, `boost`, `bury`, `cap`, `pin`."""

    name: Name
    enabled: bool = True
    note: str = Field(default="", max_length=1_000)
    """For those who read it later."""
    when: When = When()
    keep: Expression | None = None
    """Only items for which this holds are shown."""
    hide: Expression | None = None
    """Items for which this holds are not shown."""
    boost: Expression | None = None
    """These items stand as if their place were `factor` times nearer to the top: with 2, the 20th as the 10th."""
    bury: Expression | None = None
    """These items stand as if their place were `factor` times further down."""
    cap: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """At most `at_most` items that share a value of this attribute, in one answer."""
    pin: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """This item (its id) stands in `slot`, unless a filter hides it."""
    factor: float = Field(default=2.0, gt=1, le=1_000)
    at_most: PositiveInt = 2
    depth: PositiveInt | None = None
    """Of a path, the steps that count: 1 caps "Kitchen" as a whole, none the whole path."""
    slot: PositiveInt = Field(default=1, le=100)
    """From 1."""

    @model_validator(mode="after")
    def _one_action(self) -> Rule:
        given = [action for action in ACTIONS if getattr(self, action) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a rule has exactly one of {', '.join(ACTIONS)}, this one has {', '.join(given) or 'none'}"
            )
        for name, actions in _BELONGS.items():
            if name in self.model_fields_set and given[0] not in actions:
                raise ValueError(f"{name} belongs to {' and '.join(actions)}, this rule has {given[0]}")
        if self.expression is not None:
            try:
                parse(self.expression)
            except ExpressionError as error:
                raise ValueError(f"{given[0]}: {error}") from None
        return self

    @property
    def action(self) -> Action:
        """What it does."""
        return next(action for action in ACTIONS if getattr(self, action) is not None)

    @property
    def expression(self) -> str | None:
        """The items it is about; None where it is about an attribute or one item."""
        found: str | None = getattr(self, self.action)
        return None if self.action in ("cap", "pin") else found


class RuleSet(Document):
    """Everything a shop says about its answers."""

    rules: tuple[Rule, ...] = Field(default=(), max_length=MAX_RULES)
    seen: SeenPolicy = SeenPolicy()
    """What happens to items the user has seen or bought."""
    diversity: DiversityConfig | None = None
    """How alike the items of one answer may be; none: as ranked."""
    exploration: ExplorationConfig | None = None
    """How much is left to chance; none: nothing."""

    @property
    def needs_texts(self) -> bool:
        """Whether a rule asks for the items' titles or descriptions."""
        expressions = (rule.expression for rule in self.rules)
        return any(reads_texts(parse(one)) for one in expressions if one is not None)

    @model_validator(mode="after")
    def _different_names(self) -> RuleSet:
        names = [rule.name for rule in self.rules]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise ValueError(f"names must differ, rules {names.index(name) + 1} and {place + 1} are both {name!r}")
        return self
