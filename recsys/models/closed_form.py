"""What the closed-form models share: side rows, and settings that are walked one after the other on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import structlog
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import sparse

from features.catalog import Attributes
from features.section import Section
from graph.content import centered
from graph.neighbors import top_neighbors
from recsys.baselines.config import BaselinesConfig
from recsys.baselines.tuning import Search
from recsys.held_out import Split
from recsys.linear.history import Recency
from recsys.linear.side import attribute_rows, content_rows, with_columns, with_side
from recsys.models.knowledge import Knowledge
from recsys.scorer import Scorer

log = structlog.get_logger()
S = TypeVar("S", bound=Scorer)

ATTRIBUTES, USERS = "attributes", "users"
Settings = dict[str, Any]


class ClosedFormConfig(Section):
    """Side rows, and how the search goes.

    A setting is a tuple of values to try; the first is used where there are no validation pairs to choose on.
    """

    neighbors: PositiveInt = 10
    """Alike items in the row that an item's content adds, by each modality."""
    side_weight: tuple[NonNegativeFloat, ...] = Field(default=(0.3, 0.0, 1.0), min_length=1)
    """Weight of the rows of each modality and of the item attributes, and of the columns of the users' attributes,
    tried for each by itself; 0 leaves them out."""
    beside_weight: tuple[NonNegativeFloat, ...] = Field(default=(0.5, 1.0, 0.25, 0.0), min_length=1)
    """The same for the columns of each type of other behavior, such as views."""
    sides: dict[str, tuple[NonNegativeFloat, ...]] = Field(default_factory=dict)
    """The same for one kind ("text", "image", "audio", "attributes", "users"; "beside view" for views), in place of
    these two."""
    recency: tuple[Recency, ...] = Field(default=(0.0,), min_length=1)
    """How much less a user's older items say of what comes next: the n-th newest counts n to minus this power. 0: all
    alike. For data that are in an order of time (`recsys.linear.history`)."""
    dense_items: PositiveInt = 12_000
    """Catalogs up to this size, columns of users and of other behavior included, are solved exactly, as a matrix of
    items by items in memory; a larger one is solved otherwise, which is logged and told in `solved`."""
    tuning: BaselinesConfig = BaselinesConfig(tuning_users=2_000)
    """List length, users and time budget of the search."""

    def grid(self) -> dict[str, tuple[Any, ...]]:
        """Name → values of the model's own settings, in the order in which they are walked."""
        raise NotImplementedError

    def settled(self, params: Mapping[str, object]) -> Self:
        """Each setting at the one value that was chosen."""
        own = {name: (params[name],) for name in self.grid() if name in params}
        rest = {name: (value,) for name, value in params.items() if name in SIDE_NAMES or name.startswith(BESIDE)}
        return type(self).model_validate({**self.model_dump(), **own, "sides": {**self.sides, **rest}})


class Solved:
    """Which trials of a search are solved exactly, and what becomes of those that are too large for it.

    Args:
        name: of the model.
        dense_items: most columns that are solved exactly.
        otherwise: how a matrix with more is solved, in words.
    """

    def __init__(self, name: str, dense_items: int, otherwise: str) -> None:
        self._name, self._most, self._otherwise = name, dense_items, otherwise
        self._said = False

    def exactly(self, n_columns: int) -> bool:
        """Whether a matrix of so many columns is; the first that is not is logged."""
        if n_columns > self._most and not self._said:
            self._said = True
            log.warning("too large for an exact solution", model=self._name, **self.told(n_columns))
        return n_columns <= self._most

    def told(self, n_columns: int) -> dict[str, object]:
        """How a matrix of so many columns is solved, for `params`."""
        if n_columns <= self._most:
            return {"solved": "exactly"}
        return {"solved": f"{self._otherwise}: {n_columns:,} columns, dense_items is {self._most:,}"}


SIDE_NAMES = ("text", "image", "audio", ATTRIBUTES, USERS)
BESIDE = "beside "
"""What stands before a type of event in the name of its columns."""


@dataclass(frozen=True, eq=False)
class Sides:
    """The side rows and columns of a data set, made once.

    Args:
        rows: "text", "image", "audio" or "attributes" → [n, n_items]; what belongs together besides users' items.
        columns: "users" → [n_users, n_values]; what users are, as if they were further items; "beside view" and the
            like → [n_users, n_items]; what users did besides.
    """

    rows: Mapping[str, sparse.csr_matrix] = field(default_factory=dict)
    columns: Mapping[str, sparse.csr_matrix] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Knowledge, *, neighbors: int) -> Sides:
        """A row an item and modality, a row an attribute value, and a column an item and type of other behavior.

        Args:
            known: modalities, whose neighbors are those of the centered vectors, item attributes, other behavior.
            neighbors: items in a content row beside its own.
        """
        rows: dict[str, sparse.csr_matrix] = {}
        if known.item_graph:
            for name, one in known.modalities.items():
                rows[name] = content_rows(top_neighbors(centered(one), neighbors, mask=one.mask))
        if len(known.catalog.attributes):
            rows[ATTRIBUTES] = attribute_rows(known.catalog.attributes, len(known.catalog))
        return cls(rows, {f"{BESIDE}{kind}": did for kind, did in known.did().items()})

    def with_users(self, attributes: Attributes, n_users: int) -> Sides:
        """The same with a column a value that two users or more have."""
        if len(attributes) == 0:
            return self
        values = sparse.csr_matrix(attribute_rows(attributes, n_users).T)
        return replace(self, columns={USERS: values, **self.columns})

    def grid(self, config: ClosedFormConfig) -> dict[str, tuple[float, ...]]:
        """Weights to try for each kind of rows and columns there is."""
        return {
            name: config.sides.get(name, config.beside_weight if name.startswith(BESIDE) else config.side_weight)
            for name in (*self.rows, *self.columns)
        }

    def beside(self, user_items: sparse.csr_matrix, weights: Mapping[str, float]) -> sparse.csr_matrix:
        """The matrix with the weighted side columns to its right."""
        return with_columns(user_items, self.columns, weights)

    def under(self, matrix: sparse.csr_matrix, weights: Mapping[str, float]) -> sparse.csr_matrix:
        """The matrix, side columns to its right or not, with the weighted side rows below it."""
        return with_side(matrix, self.rows, weights)


def search_closed_form(
    name: str,
    split: Split,
    sides: Sides,
    config: ClosedFormConfig,
    *,
    seed: int,
    build: Callable[[Settings], S],
) -> tuple[S, dict[str, object]]:
    """Walk the grid one setting after the other, always from the best so far.

    Args:
        name: of the model.
        split: its validation side decides.
        sides: with any rows, the model knows new items too.
        config: the grid.
        seed: of ties and of the sample of users.
        build: fits the model under some settings.

    Returns:
        The best scorer, and what was chosen.
    """
    weights = sides.grid(config)
    search = Search[S](name, split, config.tuning, seed=seed, knows_new_items=bool(sides.rows))
    grid: dict[str, tuple[Any, ...]] = {**config.grid(), **weights}
    first = {setting: values[0] for setting, values in grid.items()}
    search.offer(first, build(first))
    for setting, values in grid.items():
        start = {**first, **{known: search.best_params[known] for known in first}}
        for value in values[1:]:
            if search.may_try():
                settings = {**start, setting: value}
                search.offer(settings, build(settings))
    return search.chosen, search.report()
