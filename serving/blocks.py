"""Lists that are wanted in one turn of the event loop are ranked together.

A worker under load takes in several requests before it computes anything, as their reads of Redis come back at once
(see `serving/coalesced.py`). Ranked as one block they cost half of what each costs alone, and every answer is, bit by
bit, the one that would have been made alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from recsys.pipeline.moment import Moment
from recsys.pipeline.ranked import Ranked
from recsys.pipeline.request import Request
from recsys.pipeline.stage import Stage
from recsys.recommender import BundleRecommender
from serving.codec import Slot
from serving.engine import Engine
from serving.live import Live

MOST = 16
"""Lists of a block: more gain little, and other requests wait for a block. From 20 queries on faiss also multiplies
matrices, whose last bits depend on who else is in the block."""


@dataclass(frozen=True)
class Ranking:
    """What fills the slots of an answer.

    Args:
        slots: the slots.
        propensities: the probability with which each stands in its place, given those above it.
        marginals: the same over all that could have been shown, NaN where unknown; () where nothing is drawn.
        details: of each what its score is made of ("split") and its reasons rest on ("grounds"), where that was asked.
    """

    slots: Sequence[Slot]
    propensities: Sequence[float]
    marginals: Sequence[float] = ()
    details: Sequence[Mapping[str, object]] | None = None


@dataclass(frozen=True, eq=False)
class Wanted:
    """A list to be ranked.

    Args:
        request: what the pipeline is asked.
        stages: what changes the order of the candidates, in turn.
        split: whether to tell the details.
    """

    request: Request
    stages: Sequence[Stage]
    split: bool = False


Waiting = tuple[Live, Wanted, "asyncio.Future[Ranking]"]


class Blocks:
    """One worker's lists that wait to be ranked.

    Args:
        engine: says whether a block is ranked here or in a thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Waiting] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def ranking(self, live: Live, wanted: Wanted) -> Ranking:
        """Rank a list, with those that are wanted in the same turn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ranking] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._begin)
        self._waiting.append((live, wanted, future))
        return await future

    def _begin(self) -> None:
        """Rank the first block of those that wait; the others after what else has happened meanwhile."""
        loop = asyncio.get_running_loop()
        block = [self._waiting.popleft()]
        while self._waiting and len(block) < MOST and self._waiting[0][0] is block[0][0]:
            block.append(self._waiting.popleft())
        if self._waiting:
            loop.call_soon(self._begin)
        task = loop.create_task(self._fill(block))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _fill(self, block: Sequence[Waiting]) -> None:
        live, block = block[0][0], [one for one in block if not one[2].done()]  # a request may have been given up
        if not block:
            return
        try:
            made = await self._engine.ranked(live, partial(rankings, live, [wanted for _, wanted, _ in block]))
        except Exception as error:
            if len(block) > 1:  # only who is at fault shall fail
                for one in block:
                    await self._fill([one])
            elif not block[0][2].done():
                block[0][2].set_exception(error)
            return
        for (_, _, future), ranking in zip(block, made, strict=True):
            if not future.done():  # likewise, while a thread ranked
                future.set_result(ranking)


def rankings(live: Live, block: Sequence[Wanted]) -> list[Ranking]:
    """Rank lists together."""
    recommender = live.recommender
    moments = [recommender.moment(wanted.request) for wanted in block]
    ranked = recommender.ranked_all(moments, [wanted.stages for wanted in block])
    reasons = recommender.reasons_all(moments, ranked)
    return [
        Ranking(
            list(map(Slot, of.rows.tolist(), of.score.tolist(), of.source_names(), why)),
            of.propensity.tolist(),
            of.marginal.tolist(),
            _details(recommender, moment, of) if wanted.split else None,
        )
        for wanted, moment, of, why in zip(block, moments, ranked, reasons, strict=True)
    ]


def _details(recommender: BundleRecommender, moment: Moment, ranked: Ranked) -> list[dict[str, object]]:
    """Of each slot."""
    both = zip(recommender.split(moment, ranked), recommender.grounds(moment, ranked), strict=True)
    return [{"split": split, "grounds": None if grounds is None else asdict(grounds)} for split, grounds in both]
