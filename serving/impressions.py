"""What was shown, to whom, with what probability: the log from which the next model is judged.

Answers do not wait for it: entries are held and written in batches. While Redis is away they wait too, up to a cap;
past it the oldest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from features.errors import InputError
from serving.live import passed
from serving.once import Batches
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

BATCH = 50
"""Answers that are added at once. Redis does nothing else meanwhile: 200 took up to 25 ms of one request in twenty."""


@dataclass(frozen=True)
class Shown:
    """The slots of one answer.

    Args:
        items: the items, in the order shown.
        sources: what found each.
        propensities: the probability with which each is shown in its place, given those above it.
        marginals: the same over all that could have been shown, NaN (null in the log) where unknown; () where nothing
            was drawn, and they are the same.
    """

    items: Sequence[str]
    sources: Sequence[str]
    propensities: Sequence[float]
    marginals: Sequence[float] = ()

    @cached_property
    def json(self) -> bytes:
        """As the log holds them."""
        slots = {"items": self.items, "sources": self.sources, "propensities": self.propensities}
        return orjson.dumps(slots | {"marginals": self.marginals} if self.marginals else slots)


class ImpressionLog:
    """Held impressions and their writer.

    Args:
        store: where they go.
        telemetry: counts the dropped.
        cap: answers held at most, beside a batch that is being written.
    """

    def __init__(self, store: Store, telemetry: Telemetry, *, cap: int) -> None:
        self._store = store
        self._telemetry = telemetry
        self._held: deque[dict[str, bytes]] = deque()
        self._batches = Batches(self._take)
        self._cap = cap

    def __len__(self) -> int:
        return len(self._batches.open or ()) + len(self._held)

    def _take(self) -> list[dict[str, bytes]] | None:
        return [self._held.popleft() for _ in range(min(BATCH, len(self._held)))] or None

    def add(
        self,
        shown: Shown,
        *,
        recommendation_id: str,
        surface: str,
        subject: str,
        model_version: str,
        scenario: str = "",
        arms: Mapping[str, str] | None = None,
        rules_version: int = 0,
    ) -> None:
        """Hold one answer.

        Args:
            shown: its slots; one without any is not logged.
            recommendation_id: the answer's id, which events may name.
            surface: "similar", "feed", "recommend" or "search".
            subject: the item or the user it was for, "" for a visitor without an id.
            model_version: the bundle that ranked it.
            scenario: the place it was for, as the request named it.
            arms: experiment → arm.
            rules_version: of the rules that were applied, 0 for none stored.
        """
        if not self._store.configured or not shown.items:
            return
        if len(self._held) >= self._cap:
            self._held.popleft()
            self._telemetry.impressions_dropped.inc()
        self._held.append(
            {
                "recommendation_id": recommendation_id.encode(),
                "surface": surface.encode(),
                "subject": subject.encode(),
                "scenario": scenario.encode(),
                "model_version": model_version.encode(),
                "timestamp": repr(time.time()).encode(),
                "arms": orjson.dumps(arms or {}),
                "rules_version": str(rules_version).encode(),
                "slots": shown.json,
            }
        )

    async def write(self) -> None:
        """Write everything held; what fails stays held.

        Raises:
            InputError: Redis refuses a batch for good; it is lost, and counted.
        """
        while self._store.up and (batch := self._batches.next()) is not None:
            try:
                await self._store.log_impressions(*batch)
            except StoreDownError:
                return
            except InputError:
                self._telemetry.impressions_dropped.inc(len(batch[0]))
                self._batches.done()
                raise
            self._batches.done()

    async def run(self, closing: asyncio.Event, every_s: float = 0.05) -> None:
        """Write again and again until `closing` is set."""
        while not await passed(closing, every_s):
            await self.write()
