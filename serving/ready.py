"""Answers as they were sent, to be sent again under a new id for as long as nothing they were made of has changed.

What an answer is made of: the open bundle (another `Live` as soon as the version or an item changes), the rules and
experiments (likewise other `Policies`), and what Redis holds for it, of which the answer keeps a proof: the published
list itself, or the stamp of the user's live state. Redis is asked for the proof each time, so nothing old is sent. What
changes with the clock alone is told by `until_s`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypedDict, Unpack
from weakref import ReferenceType, ref

from recsys.kept import Kept
from serving.asked import ListQuery
from serving.impressions import Shown
from serving.live import Live
from serving.policies import Policies

_BEFORE_ID = b'"recommendation_id":"'
_OF_REDIS = b'"store":"redis"}'


@dataclass(frozen=True, eq=False)
class About:
    """What the log says of an answer beside its slots.

    Args:
        surface: of the list.
        subject: the item or the user it is for.
        query: what was asked.
        arms: experiment → arm.
        rules_version: of the rules applied.
    """

    surface: str
    subject: str
    query: ListQuery
    arms: Mapping[str, str]
    rules_version: int


@dataclass(frozen=True, eq=False)
class Ready:
    """One answer.

    Args:
        about: what it is for.
        version: of the bundle it was made from.
        live: that bundle; not held, or what is asked for no more would keep bundles that were left long ago.
        policies: the rules and experiments it was made by.
        until_s: UTC seconds from which it may be another one although nothing was changed.
        proof: what Redis must still hold.
        shown: the slots, for the log.
        head, tail: the answer before its recommendation id, and after it.
    """

    about: About
    version: str
    live: ReferenceType[Live]
    policies: Policies
    until_s: float
    proof: bytes | None
    shown: Shown
    head: bytes
    tail: bytes

    def under(self, recommendation_id: str) -> bytes:
        """The answer under another id."""
        return b"".join((self.head, recommendation_id.encode(), self.tail))


class MadeOf(TypedDict):
    """What an answer is made of; as `Ready`, with the bundle itself."""

    about: About
    live: Live
    policies: Policies
    until_s: float
    proof: bytes | None
    shown: Shown


class ReadyAnswers:
    """One worker's answers that can be sent again.

    Args:
        cap: bytes they may take.
    """

    def __init__(self, cap: int) -> None:
        self._kept: Kept[tuple[str, Hashable], Ready] = Kept(cap)  # of two versions while one is about to answer

    def find(self, key: Hashable, live: Live, policies: Policies, now_s: float) -> Ready | None:
        """An answer to a question that holds if its proof does; None where there is none."""
        found = self._kept.get((live.version, key))
        if found is None or found.live() is not live or found.policies is not policies or now_s >= found.until_s:
            return None
        return found

    def keep(self, key: Hashable, answer: bytes, **made_of: Unpack[MadeOf]) -> None:
        """Keep an answer that was just made, unless the bundle had to stand in for Redis; arguments as `Ready`."""
        if not answer.endswith(_OF_REDIS):
            return
        head, said, rest = answer.rpartition(_BEFORE_ID)
        live = made_of["live"]
        ready = Ready(
            about=made_of["about"],
            version=live.version,
            live=ref(live),
            policies=made_of["policies"],
            until_s=made_of["until_s"],
            proof=made_of["proof"],
            shown=made_of["shown"],
            head=head + said,
            tail=rest[rest.index(b'"') :],
        )
        size = len(answer) + len(ready.proof or b"") + len(ready.shown.json)
        self._kept.keep((ready.version, key), ready, size)

    def lately(self) -> list[Ready]:
        """Kept answers, about in the order in which they were asked for last; replaced ones may be among them."""
        return self._kept.values()
