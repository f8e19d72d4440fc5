"""A logged request as it was asked: with what was known of its user and by which rules, at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recsys.appeal.history import CounterHistory
from recsys.bundle import Bundle
from recsys.pipeline.request import Request
from recsys.pipeline.stage import Stage
from recsys.recommendation import UserState
from recsys.replay.catalog_then import ItemChanges, Now
from recsys.replay.history import UserHistory
from recsys.replay.log import Coded, Log
from recsys.rules.model import RuleSet
from recsys.rules.occasion import Occasion
from recsys.rules.stages import Steering

RECENT = 200
"""Newest events that shape an answer at most, as the service keeps; older ones are still seen."""


@dataclass(frozen=True, eq=False)
class KnownThen:
    """What a bundle may know of a request.

    Args:
        history: what users did; None where nothing is known, and every user is then as the bundle knows them.
        changes: what became of items when; None for what the bundle says.
        segments: what the shop says of its users, as rules name it; by user.
        rules: what the shop wants of its answers, today's rules at the request's time; None for none. Exploration is
            left out: it is the policy's own.
        counters: how items did where they were shown; None for what the bundle says.
    """

    history: UserHistory | None = None
    changes: ItemChanges | None = None
    rules: RuleSet | None = None
    segments: Mapping[str, frozenset[str]] = field(default_factory=dict)
    counters: CounterHistory | None = None

    @property
    def by_time(self) -> bool:
        """Whether the moment of a request matters."""
        return any(known is not None for known in (self.history, self.changes, self.rules, self.counters))

    def request(self, log: Log, row: int, k: int, now: Now) -> tuple[Request, list[Stage]]:
        """The request of a row, and what changes the order of its candidates.

        Args:
            log: the log.
            row: the first slot of the request.
            k: slots to fill.
            now: what will answer.
        """
        moment = float(log.timestamp[row])
        user_idx = int(log.user_idx[row])
        user_id = log.users[user_idx] if user_idx >= 0 and log.users else None
        page, scenario = _named(log.page, row) or None, _named(log.scenario, row)
        items, times, bought = self._past(user_id, moment)
        seen, allowed, stages = frozenset(items), None, list[Stage]()
        again: frozenset[str] = frozenset()
        trained_again = False
        bundle = now.bundle
        if now.rules is not None:
            policy = now.rules.rules.seen
            sorted_out = policy.sort(dict(zip(items, times, strict=True)), bought, moment)
            seen, again, trained_again = sorted_out.hidden, frozenset(sorted_out.factors), policy.trained == "allow"
            page_row = -1 if page is None else int(bundle.items.idxs([page])[0])
            rows = bundle.items.idxs(list(sorted_out.factors)).tolist()
            fading = {
                item: factor
                for item, factor in zip(rows, sorted_out.factors.values(), strict=True)
                if item >= 0 and factor < 1 and page is None
            }
            steering = Steering(
                now.rules,
                self._occasion(
                    user_id, moment, page_row, bundle, scenario=scenario, active=bool(items), buyer=bool(bought)
                ),
                fading,
                diversity=now.rules.rules.diversity,
            )
            allowed, stages = steering.allowed(), steering.stages()
        user = UserState(
            user_id,
            recent_items=items[-RECENT:],
            recent_ages_s=tuple(moment - time for time in times[-RECENT:]),
            seen=seen,
            again=again,
            trained_again=trained_again,
        )
        now_s = moment if np.isfinite(moment) else 0.0
        return Request(k, user, page=page, allowed=allowed, scenario=scenario, now_s=now_s), stages

    def _past(self, user_id: str | None, moment: float) -> tuple[tuple[str, ...], tuple[float, ...], dict[str, float]]:
        """Items of all events before, their times, oldest first, and what was bought, when last."""
        if self.history is None:
            return (), (), {}
        rows = self.history.before(user_id, moment)
        items = tuple(self.history.item_id[rows].tolist())
        times = tuple(self.history.timestamp[rows].tolist())
        buys = self.history.buys[rows].tolist()
        bought = {item: time for item, time, buy in zip(items, times, buys, strict=True) if buy}
        return items, times, bought

    def _occasion(
        self,
        user_id: str | None,
        moment: float,
        page: int,
        bundle: Bundle,
        *,
        scenario: str,
        active: bool,
        buyer: bool,
    ) -> Occasion:
        segments = {"anonymous"}
        if user_id is not None:
            segments = {"known" if user_id in bundle.users else "new"}
            segments |= (
                self.segments.get(user_id, frozenset())
                | ({"active"} if active else set())
                | ({"buyer"} if buyer else set())
            )
        surface = "similar" if page >= 0 else "feed"
        return Occasion(moment, user_id, page, frozenset({surface, scenario} - {""}), frozenset(segments))


def _named(coded: Coded | None, row: int) -> str:
    """The label of a row, "" for none."""
    if coded is None:
        return ""
    labels, code = coded
    return labels[code[row]] if code[row] >= 0 else ""
