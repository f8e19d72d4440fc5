"""Moments of users who have done nothing since, kept for their next request with all that was worked out for them.

Another scenario, another number of slots or other rules for the order change nothing of what a user met, what pulls at
them and what is found for them. That follows from what is compared here and from nothing else, so what is kept is what
would be worked out again.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from features.pace import gently
from recsys.pipeline.moment import Moment
from recsys.pipeline.request import Request
from recsys.traces import Traces

MOST = 5_000
"""Users whose moments are kept, some 12 kB each."""
_NOBODY = Request(1)
Allowed = ReferenceType[NDArray[np.bool_]] | None
"""Not held, as it is as long as the catalog: one that was made for a single request is met by no other."""


class KeptMoments:
    """Moments of feeds by what their users did lately: kept where somebody else keeps these traces, and as long."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Traces, tuple[Hashable, Allowed, Moment]] = WeakKeyDictionary()

    def find(self, request: Request) -> Moment | None:
        """The moment of a request that differs from one before in nothing that matters; None: it must be made."""
        traces = request.user.traces
        kept = None if traces is None or request.page is not None else self._kept.get(traces)
        if kept is None:
            return None
        asked, allowed, moment = kept
        if (allowed is None) != (request.allowed is None) or (allowed is not None and allowed() is not request.allowed):
            return None
        return moment.of(request) if asked == _asked(request) else None

    def keep(self, moment: Moment) -> None:
        """Keep the moment of a feed."""
        request = moment.request
        traces = request.user.traces
        if traces is not None and request.page is None:
            if len(self._kept) >= MOST:  # one goes, not all: to give up thousands at once takes a while
                with suppress(KeyError, RuntimeError, StopIteration):  # another thread may be at the same one
                    del self._kept[next(self._kept.keys())]
            of_nobody = moment.of(_NOBODY)  # as its own request holds the traces
            allowed = None if request.allowed is None else ref(request.allowed)
            self._kept[traces] = _asked(request), allowed, of_nobody

    def let_go(self) -> None:
        """Keep nothing any more; given back a little at a time where work is unhurried."""
        left, self._kept = self._kept, WeakKeyDictionary()
        for _ in gently(range(len(left))):
            with suppress(KeyError):  # some may have gone with their traces meanwhile
                left.popitem()


def _asked(request: Request) -> Hashable:
    """What a moment follows from beside the traces and what is allowed."""
    user = request.user
    at_hand = (user.category, user.page, user.cart, user.like, user.unlike)
    return (user.user_id, user.trained_again, at_hand, tuple(request.exclude), request.now_s, request.relax)
