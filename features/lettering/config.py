"""How the lettering in pictures is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from features.section import Section


class LetteringConfig(Section):
    """Reading what is spelled in pictures, and judging listings by it."""

    enabled: bool = False
    """Whether match scores take the lettering into account; reading takes some 0.3 s a picture and core, once."""

    sides: Annotated[tuple[Annotated[int, Field(ge=64, le=2048)], ...], Field(min_length=1)] = (192, 320)
    """Pictures are searched for lettering at each of these lengths of their shorter side, as what is missed at one size
    is often found at another. Small thumbnails are enlarged; for small print on large pictures take more, at a cost
    that grows with the square."""

    least_confidence: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Lines of which the reader is less sure, on the average over their characters, are not used."""

    threads: PositiveInt | None = None
    """Pictures read side by side. None: one for each core."""
