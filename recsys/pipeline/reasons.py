"""Why each slot of an answer is there: which item led to it, and what the bundle proves of the two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from recsys.explanation import Explainer
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


def _of_feeds(explainer: Explainer, feeds: Sequence[tuple[Moment, Ranked]]) -> list[tuple[str, ...]]:
    """Of the slots of all feeds, one feed after the other."""
    anchors, roles = list[NDArray[np.int64]](), list[Anchor]()
    for moment, ranked in feeds:
        led = ranked.anchor.copy()
        personal = np.flatnonzero(LED_BY_ALL.take(ranked.source) & (led < 0))
        led[personal] = moment.strongest(ranked.rows[personal])
        anchors.append(led)
        roles += moment.roles(led)
    return explainer.feed(
        np.concatenate([ranked.rows for _, ranked in feeds]),
        [name for _, ranked in feeds for name in ranked.source_names()],
        anchors=np.concatenate(anchors),
        roles=roles,
        categories=[moment.query.category for moment, ranked in feeds for _ in range(len(ranked))],
    )
