"""Who asks, where and when: what rules may depend on beside the catalog."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Occasion:
    """One request as rules see it.

    Args:
        now_s: UTC seconds; ages are counted from here, and rules with a time begin and end by it.
        user_id: the one who asks; None for a visitor without an id.
        page: row of the item whose page asks, -1 for none.
        scenarios: names of the place the answer is for: its surface ("similar", "feed") and its scenario, if it has
            one.
        segments: the groups the one who asks belongs to.
    """

    now_s: float
    user_id: str | None = None
    page: int = -1
    scenarios: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
