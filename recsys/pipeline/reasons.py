"""Why each slot of an answer is there: which item led to it, and what the bundle proves of the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.explanation import SAYS_ITSELF, Explainer
from recsys.pipeline.likeness import Likeness
from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.recommendation import SOURCES, Anchor

LED_BY_ALL = np.isin(SOURCES, ["personalized", "fresh"])
"""Whether each source goes by all of a user's history; the item of it that says most leads to each suggestion."""


def reasons_of(
    explainer: Explainer, moments: Sequence[Moment], ranked: Sequence[Ranked]
) -> list[list[tuple[str, ...]]]:
    """The reasons of each slot of some answers; the slots of all feeds are explained together.

    Args:
        explainer: finds reasons.
        moments: the requests.
        ranked: the slots of each.
    """
    answers = list(zip(moments, ranked, strict=True))
    feeds = [(moment, of) for moment, of in answers if moment.page < 0 and len(of)]
    of_feeds = iter(_of_feeds(explainer, feeds) if feeds else ())
    return [
        list(islice(of_feeds, len(of)))
        if moment.page < 0
        else explainer.similar(moment.page, of.rows, of.source_names())
        for moment, of in answers
    ]


@dataclass(frozen=True)
class Grounds:
    """What the reasons of a slot rest on: the item that led to it, and what the bundle holds of the two.

    Args:
        item_id: outside id of the item that led to it.
        together: users who met both.
        image, text: cosines of their pictures and of their words; None where one of them has none.
    """

    item_id: str
    together: int
    image: float | None
    text: float | None


def grounds_of(bundle: Bundle, likeness: Likeness, moment: Moment, ranked: Ranked) -> list[Grounds | None]:
    """The grounds of each slot of an answer; None where no other item led to it."""
    led = np.full(len(ranked), moment.page) if moment.page >= 0 else _led_by(moment, ranked)
    places = [
        place
        for place, (source, by) in enumerate(zip(ranked.source_names(), led.tolist(), strict=True))
        if by >= 0 and source not in SAYS_ITSELF
    ]
    found: list[Grounds | None] = [None] * len(ranked)
    if not places:
        return found
    ours, theirs = led[places].astype(np.int64), ranked.rows[places]
    together = bundle.met_both(ours, theirs).tolist()
    image, text = (_cosines(likeness, kind, ours, theirs) for kind in ("image", "text"))
    for place, by, *held in zip(places, ours.tolist(), together, image, text, strict=True):
        found[place] = Grounds(bundle.items[by], *held)
    return found


def _cosines(
    likeness: Likeness, kind: Literal["image", "text"], ours: NDArray[np.int64], theirs: NDArray[np.int64]
) -> list[float | None]:
    """Of the vectors of each pair; None where one is missing."""
    one, other = likeness.vectors(kind, ours), likeness.vectors(kind, theirs)
    both = np.logical_and(np.any(one, axis=1), np.any(other, axis=1))
    cosines = np.where(both, np.einsum("nd,nd->n", one, other), np.nan)
    return [None if np.isnan(cosine) else float(cosine) for cosine in cosines]


def _led_by(moment: Moment, ranked: Ranked) -> NDArray[np.int64]:
    """Row of the item that led to each slot of a feed, -1 where none did, int64 [n]."""
    led = ranked.anchor.copy()
    personal = LED_BY_ALL.take(ranked.source).nonzero()[0]  # no one item has led to these
    if len(personal):
        led[personal] = moment.strongest(ranked.rows.take(personal))
    return led


def _of_feeds(explainer: Explainer, feeds: Sequence[tuple[Moment, Ranked]]) -> list[tuple[str, ...]]:
    """Of the slots of all feeds, one feed after the other."""
    anchors, roles = list[NDArray[np.int64]](), list[Anchor]()
    for moment, ranked in feeds:
        led = _led_by(moment, ranked)
        anchors.append(led)
        roles += moment.roles(led)
    return explainer.feed(
        np.concatenate([ranked.rows for _, ranked in feeds]),
        [name for _, ranked in feeds for name in ranked.source_names()],
        anchors=np.concatenate(anchors),
        roles=roles,
        categories=[moment.query.category for moment, ranked in feeds for _ in range(len(ranked))],
    )
