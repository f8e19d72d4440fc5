"""How a ranker is learned."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveInt

from features.section import Section


class RankingConfig(Section):
    """How candidates are ranked once they are found."""

    learn: bool = True
    """Learn a ranker, and use it where it proves better; otherwise candidates stand by taste and prior."""
    users: PositiveInt = 3_000
    """Users it is trained on, and as many it is judged on, at most."""
    least: PositiveInt = 100
    """With fewer users on either side nothing is learned."""
    penalty: NonNegativeFloat = 0.1
    """Of squared weights."""
