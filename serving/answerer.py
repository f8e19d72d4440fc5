"""From a list that is wanted to the answer that is sent: ranked or stored, logged, kept to be sent again."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

from recsys.pipeline.request import Request
from recsys.recommendation import Part
from recsys.rules.dry_run import both
from serving.answers import Origin, list_json
from serving.blocks import Blocks, Ranking, Wanted
from serving.codec import Slot
from serving.engine import Engine
from serving.filtering import Filters
from serving.ids import new_id
from serving.impressions import Shown
from serving.live import Live
from serving.policies import Policies
from serving.question import Asked
from serving.ready import About, Ready, ReadyAnswers
from serving.steering import Steerer


class Answerer:
    """One worker's way of making answers.

    Args:
        engine: knows the open bundle, users and items, and logs what is shown.
        steerer: counts what is shown by arm.
        filters: of requests.
    """

    def __init__(self, engine: Engine, steerer: Steerer, filters: Filters) -> None:
        self._engine = engine
        self._steerer = steerer
        self._filters = filters
        self._blocks = Blocks(engine)
        self.ready = ReadyAnswers(engine.settings.kept_answers_bytes)

    async def request(self, live: Live, asked: Asked, weights: Mapping[Part, float] | None) -> Request:
        """What the pipeline is asked for a list."""
        query, steered = asked.query, asked.steered
        filtered = await self._filters.mask(live.bundle, query.filter, steered.steering.occasion)
        return Request(
            query.k,
            asked.user,
            page=asked.page,
            exclude=query.exclude,
            allowed=both(both(asked.not_shown(live), filtered), steered.allowed),
            weights=weights,
            scenario=query.scenario,
            pool=steered.pool,
            relax=query.cursor is None,
            now_s=asked.now_s,
            seed=int(asked.recommendation_id[:15], 16),
        )

    async def made(
        self, live: Live, asked: Asked, weights: Mapping[Part, float] | None, origin: Origin
    ) -> tuple[Shown, bytes]:
        """Rank for this request, in this worker."""
        request = await self.request(live, asked, weights)
        ranking = await self._blocks.ranking(live, Wanted(request, asked.stages(), asked.query.split))
        items = self._engine.items.own(live, [slot.item_idx for slot in ranking.slots])
        return self._told(live, asked, ranking, items, origin)

    async def answer(
        self,
        live: Live,
        asked: Asked,
        slots: Sequence[Slot],
        origin: Origin,
    ) -> tuple[Shown, bytes]:
        """Log slots that were stored and make the answer that is sent."""
        items, whole = await self._engine.items.published(live, [slot.item_idx for slot in slots])
        if not whole and origin == "redis":
            origin = self._engine.whence(asked.surface, whole=False)
        return self._told(live, asked, Ranking(slots, [1.0] * len(slots)), items, origin)

    def _told(
        self, live: Live, asked: Asked, ranking: Ranking, items: Sequence[bytes], origin: Origin
    ) -> tuple[Shown, bytes]:
        """Log slots and make the answer that is sent; `items` holds the JSON of each slot's item."""
        slots, chances = ranking.slots, ranking.propensities
        ids = live.bundle.items.ids
        item_ids = [ids[slot.item_idx] for slot in slots]
        drawn = () if all(chance == 1 for chance in chances) else ranking.marginals
        shown = Shown(item_ids, [slot.source for slot in slots], chances, drawn)
        if asked.told:
            self._log(live.version, shown, origin, asked.about, asked.recommendation_id)
        return shown, list_json(
            slots,
            items,
            chances,
            details=ranking.details,
            next_cursor=asked.cursor.after(item_ids) if len(slots) == asked.query.k else None,
            recommendation_id=asked.recommendation_id,
            version=live.version,
            arms=asked.steered.arms,
            rules_version=asked.steered.rules_version,
            store=origin,
        )

    def _log(self, version: str, shown: Shown, origin: Origin, about: About, recommendation_id: str) -> None:
        self._engine.log(
            version,
            shown,
            origin,
            surface=about.surface,
            subject=about.subject,
            scenario=about.query.scenario,
            recommendation_id=recommendation_id,
            arms=about.arms,
            rules_version=about.rules_version,
        )
        self._steerer.count(about.arms, slots=len(shown.items), asked=about.query.k, fallback=origin == "bundle")

    def found(self, key: Hashable) -> Ready | None:
        """An answer that was sent before, and holds if Redis still has its proof."""
        if not self._engine.store.up:
            return None
        return self.ready.find(key, self._engine.live, self._steerer.keeper.policies, time.time())

    def again(self, ready: Ready) -> bytes:
        """An answer that was sent before, under a new id, and logged under it."""
        self._engine.kept_answer(True)
        recommendation_id = new_id()
        self._log(ready.version, ready.shown, "redis", ready.about, recommendation_id)
        return ready.under(recommendation_id)

    def keep(
        self,
        asked: Asked,
        shown: Shown,
        answer: bytes,
        *,
        live: Live,
        policies: Policies,
        until_s: float,
        proof: bytes | None,
    ) -> None:
        """Keep an answer, to be sent again while Redis holds its proof, until `until_s` at most."""
        if asked.told:
            self._engine.kept_answer(False)
        key = (asked.surface, asked.subject, asked.query.key)
        self.ready.keep(
            key, answer, about=asked.about, live=live, policies=policies, until_s=until_s, proof=proof, shown=shown
        )
