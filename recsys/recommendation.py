"""What is asked of a recommender and what it answers: a user's state in, named and explained suggestions out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from recsys.traces import Traces

Source = Literal[
    "personalized",
    "published",
    "content",
    "popular_in_category",
    "popular",
    "together",
    "image",
    "text",
    "behavior",
    "complement",
    "fresh",
    "pinned",
]

SOURCES: tuple[Source, ...] = get_args(Source)
"""Every source. The place of one is its code in stored lists, so new ones go to the end."""

Part = Literal["image", "text", "behavior", "complement"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The ways in which one item can be like another; each is a source too."""

Anchor = Literal["viewed", "page", "cart", "like", "history"]
"""What an item that led to a suggestion is to the user: lately viewed, on the page now, in the cart, an example that
was given, or met before."""


@dataclass(frozen=True)
class Recommendation:
    """One suggestion.

    Args:
        item_id: outside id.
        score: how good the tier thinks it is; comparable within one answer and one source only.
        source: the tier of the ladder it came from.
        reasons: at most three short true statements, best first; may be empty.
        propensity: probability with which it stands in its place, given those above it; 1 where nothing is drawn.
        marginal: the same over all answers that could have been drawn; NaN where it is not known.
    """

    item_id: str
    score: float
    source: Source
    reasons: tuple[str, ...] = ()
    propensity: float = 1.0
    marginal: float = 1.0


@dataclass(frozen=True)
class UserState:
    """What is known of the one who asks, at the moment of asking.

    Args:
        user_id: outside id; None for a visitor without one. An id the model never saw is no error.
        recent_items: ids lately viewed, newest last; unknown ids are ignored.
        recent_ages_s: seconds since each of `recent_items`, or () where not known: then only their order counts.
        seen: further ids not to be shown, such as what was bought since the model was trained.
        again: ids that may be shown although they are among `recent_items` or were met when the model was trained.
        trained_again: whether that holds of everything met when the model was trained.
        category: the category of the page the answer is for, "" where there is none.
        page: ids of the items on the page now; they count as viewed this moment, and are not shown.
        cart: ids of the items in the cart, likewise.
        like: ids of items given as examples of what is wanted, likewise.
        unlike: ids of items given as examples of what is not wanted; they push the user's vector away, and are not
            shown.
        traces: what `recent_items`, `recent_ages_s`, `seen` and `again` say, in rows of the bundle that answers, where
            somebody knows these rows already; those four are empty then.

    Raises:
        ValueError: `recent_ages_s` is neither empty nor as long as `recent_items`, or an age is negative; or there are
            `traces` beside ids.
    """

    user_id: str | None = None
    recent_items: tuple[str, ...] = ()
    recent_ages_s: tuple[float, ...] = ()
    seen: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    trained_again: bool = False
    category: str = ""
    page: tuple[str, ...] = ()
    cart: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    traces: Traces | None = None

    def __post_init__(self) -> None:
        if self.traces is not None and (self.recent_items or self.seen or self.again):
            raise ValueError("a user's state must be told by ids or by traces, got both")
        if self.recent_ages_s and len(self.recent_ages_s) != len(self.recent_items):
            raise ValueError(
                f"recent_ages_s must have an age a recent item ({len(self.recent_items)}), "
                f"it has {len(self.recent_ages_s)}"
            )
        if all(map((0.0).__le__, self.recent_ages_s)):
            return
        for position, age_s in enumerate(self.recent_ages_s):
            if not age_s >= 0:
                raise ValueError(f"an age must be >= 0 s, recent item {position} has {age_s}")


class Recommender(Protocol):
    """Answers a shop's two questions: what is like this item, and what is for this user?"""

    def similar_items(self, item_id: str, k: int, exclude: Collection[str] = ()) -> list[Recommendation]:
        """At most k items like this one, best first.

        Raises:
            KeyError: the item is unknown.
        """
        ...

    def recommend(self, user: UserState, k: int, exclude: Collection[str] = ()) -> list[Recommendation]:
        """At most k items for this user, best first; never empty while the catalog has anything to show."""
        ...
