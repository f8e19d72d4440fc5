"""The whole configuration of a fit: one section an algorithm, each defined beside its algorithm."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from features.encoders.config import EncoderConfig
from features.errors import InputError, nearest_name
from features.lettering.config import LetteringConfig
from features.match.config import MatchConfig
from features.section import Section
from graph.build import GraphConfig
from graph.models.kg_gnn import GNNConfig
from recsys.baselines.config import BaselinesConfig
from recsys.evaluation import EvaluationConfig
from recsys.index_choice import Storage
from recsys.ranking.config import RankingConfig
from recsys.search.config import SearchConfig
from recsys.split import SplitConfig
from recsys.training import TrainConfig

Kind = TypeVar("Kind", bound=Section)


class Alternative(Section):
    """Settings of the GNN to try instead of the configured ones; what is unset stays as configured."""

    item_prior: bool | None = None
    """See `GNNConfig`."""
    temperature: PositiveFloat | None = None
    """See `TrainConfig`, as for the three below."""
    learning_rate: PositiveFloat | None = None
    hidden_share: float | None = Field(default=None, ge=0, lt=1)
    content_dropout: float | None = Field(default=None, ge=0, lt=1)

    def applied(self, model: GNNConfig, train: TrainConfig) -> tuple[GNNConfig, TrainConfig]:
        """The configured model and training with these settings in place."""
        given = self.model_dump(exclude_none=True)
        prior = {name: given.pop(name) for name in ("item_prior",) if name in given}
        return model.model_copy(update=prior), train.model_copy(update=given)


class FitConfig(Section):
    """Everything that decides what `recsys fit` makes of a shop."""

    seed: NonNegativeInt = 0
    """Of every random choice."""
    neighbors: PositiveInt = 10
    """Content neighbors an item has in the graph, by text, by image and by both."""
    similar: PositiveInt = 50
    """Length of the published list of similar items."""
    split: SplitConfig | None = None
    """How events are split where no split file is given; unset: by time where every event has one, else at random."""
    encoders: EncoderConfig = EncoderConfig()
    match: MatchConfig = MatchConfig()
    lettering: LetteringConfig = LetteringConfig()
    graph: GraphConfig = GraphConfig()
    model: GNNConfig = GNNConfig()
    train: TrainConfig = TrainConfig()
    alternatives: tuple[Alternative, ...] = (
        Alternative(item_prior=False, temperature=0.15, learning_rate=0.02, hidden_share=0.0, content_dropout=0.0),
    )
    """Tried beside the configured model and training, as the baselines are tuned; the best on validation is kept. The
    configured one suits sparse shops, the one here dense ones."""
    baselines: BaselinesConfig = BaselinesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    search: SearchConfig = SearchConfig()
    index_storage: Storage = "float32"
    """How the approximate index of a large catalog keeps the vectors it looks through: float32, float16 or int8."""
    ranking: RankingConfig = RankingConfig()


def load_config(path: Path | None, overrides: Iterable[str] = ()) -> FitConfig:
    """Read a configuration.

    Args:
        path: a TOML file with the fields of `FitConfig`, or None for the defaults.
        overrides: "section.field=value" settings that win over the file; a value that is no TOML is text.

    Raises:
        InputError: the file or a setting cannot be read, or names a field that does not exist.
    """
    return with_settings(read_toml(path), overrides, where="configuration")


def read_toml(path: Path | None) -> dict[str, Any]:
    """Values of a TOML file, none for None.

    Raises:
        InputError: the file cannot be read.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error


def with_settings(values: dict[str, Any], overrides: Iterable[str], *, where: str) -> FitConfig:
    """A configuration from the values of some fields, with settings that win over them.

    Args:
        values: section → field → value.
        overrides: "section.field=value" settings.
        where: the place of the values, for the error message.

    Raises:
        InputError: a setting cannot be read, or a field does not exist or cannot have its value.
    """
    return validated(FitConfig, values, overrides, where=where)


def validated(kind: type[Kind], values: dict[str, Any], overrides: Iterable[str], *, where: str) -> Kind:
    """As `with_settings`, for a section of any kind."""
    merged = copy.deepcopy(values)
    for override in overrides:
        _merge(merged, _parse(override))
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise InputError(f"{where}: {first_fault(kind, error)}") from error


def first_fault(kind: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong with the values of a section: field, rule, and value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    rule = _no_such(kind, first["loc"]) if first["type"] == "extra_forbidden" else first["msg"]
    return f"field {field!r}: {rule}, got {first['input']!r}"


def _no_such(kind: type[BaseModel], place: tuple[str | int, ...]) -> str:
    """What to say of a field that does not exist."""
    *sections, last = place
    there: type[BaseModel] | None = kind
    for name in sections:
        field = None if there is None else there.model_fields.get(str(name))
        inner = None if field is None else field.annotation
        there = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    meant = None if there is None else nearest_name(str(last), there.model_fields)
    return "there is no such setting" + ("" if meant is None else f"; did you mean {meant!r}?")


def _parse(override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"a setting must look like section.field=value, got {override!r}")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        escaped = value.strip().replace("\\", "\\\\").replace('"', '\\"')
        try:
            return tomllib.loads(f'{key} = "{escaped}"')
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"a setting must look like section.field=value, got {override!r}") from error


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
