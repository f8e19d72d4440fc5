"""What may change the order of the candidates after ranking: rules, diversity, exploration."""

from __future__ import annotations

from typing import Protocol

from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked


class Stage(Protocol):
    """One step between ranking and slots. Stages run in the order in which they are given.

    A stage is deterministic: whatever it draws follows from `moment.request.seed`.
    """

    @property
    def name(self) -> str:
        """What a trace calls it, such as "rules"."""
        ...

    def apply(self, ranked: Ranked, moment: Moment) -> Ranked:
        """The candidates in another order, some left out or added.

        Args:
            ranked: all candidates, best first, more than there are slots; every stage but the first gets what the one
                before made.
            moment: who asks, and the bundle's rows they go by. `moment.request.k` slots will be filled from the top.
        """
        ...
