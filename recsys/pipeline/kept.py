"""Moments of users who have done nothing since, kept for their next request with all that was worked out for them.

Another scenario, another number of slots or other rules for the order change nothing of what a user met, what pulls at
them and what is found for them. That follows from what is compared here and from nothing else, so what is kept is what
would be worked out again.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from recsys.pipeline.moment import Moment
from recsys.pipeline.request import Request
from recsys.traces import Traces

MOST = 5_000
"""Users whose moments are kept, some 12 kB each."""


class KeptMoments:
    """Moments of feeds by what their users did lately: kept where somebody else keeps these traces, and as long."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Traces, Moment] = WeakKeyDictionary()

    def find(self, request: Request) -> Moment | None:
        """The moment of a request that differs from one before in nothing that matters; None: it must be made."""
        traces = request.user.traces
        kept = None if traces is None or request.page is not None else self._kept.get(traces)
        if kept is None:
            return None
        before = kept.request
        same = (
            before.allowed is request.allowed
            and before.now_s == request.now_s
            and before.relax == request.relax
            and before.user == request.user
            and before.exclude == request.exclude
        )
        return kept.of(request) if same else None

    def keep(self, moment: Moment) -> None:
        """Keep the moment of a feed."""
        traces = moment.request.user.traces
        if traces is not None and moment.page < 0:
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[traces] = moment
