"""Which listings are learned from, which decide, and which are held back: by the picture's bytes alone.

The same picture is always on one side, whatever the order of the items and whoever runs the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, model_validator

from features.errors import InputError
from features.section import Section


class PartsConfig(Section):
    """A listing is test where the first 8 hex digits of its picture's SHA-1, modulo `parts`, are `residue`."""

    parts: Annotated[int, Field(ge=2)] = 6
    """One part in so many is test."""

    residue: Annotated[int, Field(ge=0)] = 0
    """Which of them."""

    unused: tuple[NonNegativeInt, ...] = ()
    """Residues that take no part at all, such as the test of the final run while one still chooses."""

    valid_parts: Annotated[int, Field(ge=2)] = 12
    """One in so many of the others decides when to stop, how to calibrate and blend; told by the next 8 digits."""

    @model_validator(mode="after")
    def _inside(self) -> PartsConfig:
        if self.residue >= self.parts:
            raise ValueError(f"residue must be below parts ({self.parts}), got {self.residue}")
        if self.residue in self.unused:
            raise ValueError(f"residue must not be among the unused ones, got {self.residue}")
        return self

    def __str__(self) -> str:
        """In words."""
        return (
            f"test: sha1(image bytes)[:8] as hex % {self.parts} == {self.residue}; "
            f"validation: sha1(image bytes)[8:16] as hex % {self.valid_parts} == 0, of the others"
        )


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of listings with words and a picture, int64 each.

    Args:
        train: learned from.
        valid: decide.
        test: held back.
    """

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


LEAST_TRAIN, LEAST_VALID, LEAST_TEST = 24, 6, 6


def split_listings(content: list[str], paired: NDArray[np.bool_], config: PartsConfig) -> Parts:
    """Split the paired listings.

    Args:
        content: 16 hex digits a listing, "" where it has no picture.
        paired: bool [n]; listings with words and a picture.
        config: which part is test.

    Raises:
        InputError: a part would have too few listings to say anything.
    """
    rows = np.flatnonzero(paired)
    first = np.array([int(content[row][:8], 16) for row in rows], dtype=np.int64)
    second = np.array([int(content[row][8:], 16) for row in rows], dtype=np.int64)
    used = ~np.isin(first % config.parts, config.unused)
    rows, first, second = rows[used], first[used], second[used]
    test = first % config.parts == config.residue
    valid = ~test & (second % config.valid_parts == 0)
    parts = Parts(rows[~test & ~valid], rows[valid], rows[test])
    for name, found, least in (
        ("learn from", parts.train, LEAST_TRAIN),
        ("validate on", parts.valid, LEAST_VALID),
        ("test on", parts.test, LEAST_TEST),
    ):
        if len(found) < least:
            raise InputError(
                f"a match model needs at least {least} listings with words and a picture to {name}, "
                f"there are {len(found)} of {len(rows)}"
            )
    return parts


def fold_of(content: list[str], folds: int) -> NDArray[np.int64]:
    """Fold of each listing, by its picture; int64 [n], -1 where it has none."""
    return np.array([int(digits[4:12], 16) % folds if digits else -1 for digits in content], dtype=np.int64)
