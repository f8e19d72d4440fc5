"""A list that is wanted: for whom, of what, going on from where, under which rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.pipeline.stage import Stage
from recsys.pipeline.taste import Taste
from recsys.recommendation import UserState
from recsys.traces import Traces
from serving.asked import FeedQuery, ListQuery, RecommendIn
from serving.cursor import BadCursor, Cursor, question_hash
from serving.ids import new_id
from serving.live import Live
from serving.problems import ProblemError
from serving.ready import About
from serving.steering import Steered


@dataclass(frozen=True, eq=False)
class Asked:
    """A list that is wanted.

    Args:
        surface: "similar", "feed" or "recommend".
        subject: the item or the user it is for, "" for a visitor without an id.
        query: what was asked.
        page: the item it must be like; None for none.
        user: what is known of the one who asks.
        cursor: where it goes on.
        steered: the rules and the arms that hold for it.
        taste: how much the user's taste orders what is alike.
        told: whether it is for somebody, and so logged and counted; else it is made ahead, to be kept.
        recommendation_id: the answer's id; whatever is drawn for it follows from the id, so a replay can draw it again.
    """

    surface: str
    subject: str
    query: ListQuery
    page: str | None
    user: UserState
    cursor: Cursor
    steered: Steered
    taste: float = 0.0
    told: bool = True
    recommendation_id: str = field(default_factory=new_id)

    @property
    def plain(self) -> bool:
        """Whether nothing but a number of slots was asked for, so that a stored list may answer."""
        said = self.query.model_fields_set
        return said <= {"k", "item_id", "user_id"} and self.taste == 0 and self.steered.plain

    @property
    def now_s(self) -> float:
        """The moment as of which the user's events are told, UTC seconds."""
        told = None if self.user.traces is None else self.user.traces.at_s
        return self.steered.now_s if told is None else told

    @property
    def steady(self) -> bool:
        """Whether it would be the same list if it were asked for again at once: no chance, no earlier page."""
        return self.query.cursor is None and not self.steered.draws

    @property
    def about(self) -> About:
        """What the log says of its answer."""
        return About(self.surface, self.subject, self.query, self.steered.arms, self.steered.rules_version)

    def stages(self) -> list[Stage]:
        """What changes the order of the candidates, in turn."""
        return [*([Taste(self.taste)] if self.taste > 0 else []), *self.steered.stages()]

    def not_shown(self, live: Live) -> NDArray[np.bool_] | None:
        """What the pages before have left, bool [n_items]; None where there were none."""
        return ~np.isin(live.checksums, self.cursor.shown) if len(self.cursor.shown) else None


def cursor_of(surface: str, subject: str, query: ListQuery) -> Cursor:
    """Where a list goes on.

    Raises:
        ProblemError: the cursor is none of ours, or belongs to another list.
    """
    question = question_hash(surface, subject, query.question())
    if query.cursor is None:
        return Cursor.start(question)
    try:
        return Cursor.parse(query.cursor, question)
    except BadCursor as error:
        errors = [{"place": "cursor", "rule": str(error), "value": query.cursor[:80]}]
        raise ProblemError(422, "invalid-request", f"cursor: {error}", errors=errors) from None


def at_hand(items: Vocabulary, user: UserState, query: FeedQuery) -> UserState:
    """A user's state with what is on the page now, in a bundle of these items."""
    if not (query.category or query.item or query.cart or isinstance(query, RecommendIn)):
        return user
    given: dict[str, object] = {
        "category": query.category or "",
        "page": (query.item,) if query.item is not None else (),
        "cart": tuple(query.cart),
    }
    if isinstance(query, RecommendIn):
        given |= {"like": tuple(query.like), "unlike": tuple(query.unlike)}
        given["traces"] = (user.traces or Traces()).then(items.idxs(query.session))
    return replace(user, **given)  # type: ignore[arg-type]
