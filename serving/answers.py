"""Answers as JSON bytes, with the items' own bytes put in as they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import orjson

from features.vocabulary import Vocabulary
from recsys.recommendation import UserState
from recsys.rules.seen import Known
from recsys.search.searcher import SearchAnswer
from recsys.traces import Traces, known_rows
from serving.codec import Slot
from serving.display import Page
from serving.events import Past
from serving.memory import LiveState

Origin = Literal["redis", "bundle"]
"""Whether Redis held what was asked for, or the worker had to answer from its bundle."""


def list_json(
    slots: Sequence[Slot],
    items: Sequence[bytes],
    propensities: Sequence[float],
    *,
    details: Sequence[Mapping[str, object]] | None,
    next_cursor: str | None,
    recommendation_id: str,
    version: str,
    arms: Mapping[str, str],
    rules_version: int,
    store: Origin,
) -> bytes:
    """A ranked list; `items` holds the JSON of each slot's item, `details` what else each slot says, if asked for."""
    shown: list[dict[str, object]] = [
        {
            "item": orjson.Fragment(item),
            "score": slot.score,
            "source": slot.source,
            "reasons": slot.reasons,
            "propensity": propensity,
        }
        for slot, item, propensity in zip(slots, items, propensities, strict=True)
    ]
    if details is not None:
        shown = [{**one, **detail} for one, detail in zip(shown, details, strict=True)]
    return orjson.dumps(
        {
            "recommendations": shown,
            "next_cursor": next_cursor,
            "recommendation_id": recommendation_id,
            "model_version": version,
            "arms": arms,
            "rules_version": rules_version,
            "source": slots[0].source if slots else None,
            "store": store,
        }
    )


def search_json(
    answer: SearchAnswer, items: Sequence[bytes], propensities: Sequence[float], **about: str | int | None
) -> bytes:
    """A page of search results; `items` holds the JSON of each result's item, `about` the fields of every answer."""
    shown = [
        {
            "item": orjson.Fragment(item),
            "score": result.score,
            "source": result.source,
            "reasons": result.reasons,
            "parts": result.parts,
            "propensity": propensity,
        }
        for result, item, propensity in zip(answer.results, items, propensities, strict=True)
    ]
    page = {
        "results": shown,
        "total": answer.total,
        "next_offset": answer.next_offset,
        "channels": answer.channels,
        "warnings": answer.warnings,
    }
    return orjson.dumps(page | about)


def page_json(page: Page, items: Sequence[bytes]) -> bytes:
    """A part of the browse grid."""
    shown = [orjson.Fragment(item) for item in items]
    return orjson.dumps({"items": shown, "total": page.total, "next_offset": page.next_offset})


def past_json(
    user_id: str,
    recent: Sequence[Past],
    items: Sequence[bytes],
    *,
    attributes: Mapping[str, Sequence[str]],
    store: Origin,
) -> bytes:
    """A user's recent events with their items, and what the shop says of the user."""
    events = [
        {
            "item_id": past.item_id,
            "event_type": past.event_type,
            "timestamp": past.timestamp,
            "item": orjson.Fragment(item),
        }
        for past, item in zip(recent, items, strict=True)
    ]
    return orjson.dumps({"user_id": user_id, "attributes": attributes, "events": events, "store": store})


def user_state(
    items: Vocabulary, user_id: str, state: LiveState, known: Known | None = None, *, trained_again: bool = False
) -> UserState:
    """What the recommender is told of a user.

    Args:
        items: of the bundle that answers.
        user_id: who it is.
        state: what they did lately.
        known: what may be shown again and what not; None: nothing may.
        trained_again: whether what the model was trained on as theirs may be.
    """
    rows, now_s = state.rows(items), time.time()
    if known is None:
        return UserState(user_id, trained_again=trained_again, traces=rows.traces(now_s))
    viewed, times_s = rows.by_time()
    seen, again = known_rows(items, known.hidden), known_rows(items, known.factors)
    traces = Traces(viewed, np.maximum(now_s - times_s, 0.0), seen, again)
    return UserState(user_id, trained_again=trained_again, traces=traces)
