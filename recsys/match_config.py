"""What `recsys match fit` does, in one configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from features.encoders.config import EncoderConfig
from features.lettering.config import LetteringConfig
from features.match.fine.config import FineConfig
from features.match.fine.parts import PartsConfig
from features.section import Section
from recsys.config import read_toml, validated


class MatchRunConfig(Section):
    """From a shop to a fitted and judged match model."""

    seed: NonNegativeInt = 0
    """Of every random choice; further seeds count on from it."""

    seeds: PositiveInt = 1
    """Models trained and judged, one a seed; the first is kept."""

    folds: Annotated[int, Field(ge=0, le=20)] = 0
    """Listings are scored by models that have not learned them, one a fold; 0 scores them by the kept model, and the
    table says which it has learned."""

    worst: NonNegativeInt = 24
    """Listings shown in the report, those that agree least first."""

    parts: PartsConfig = PartsConfig()
    """What is held back."""

    encoders: EncoderConfig = EncoderConfig()
    """The networks that read words and pictures."""

    lettering: LetteringConfig = LetteringConfig()
    """Whether the table of scores takes into account what is spelled in pictures; the model and its test do not."""

    model: FineConfig = FineConfig()
    """The match model."""


def load_match_config(path: Path | None, overrides: Iterable[str] = ()) -> MatchRunConfig:
    """From a TOML file with these fields (None: the defaults) and "section.field=value" settings that win over it.

    Raises:
        InputError: the file or a setting cannot be read, or names a field that does not exist.
    """
    return validated(MatchRunConfig, read_toml(path), overrides, where="configuration")
