"""What is known of a trial: the version, and how it compares with the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from features.errors import InputError
from serving.keys import Keys
from serving.shadow.tally import Surface, read
from serving.versions import SIDES, Versions


@dataclass(frozen=True)
class ShadowReport:
    """A trial so far.

    Args:
        version, current: the one that is tried, and the one that answers.
        share: of requests that are answered by both.
        started_s: since when, UTC seconds.
        surfaces: how they compare on each.
        items: about how many different items each showed, by "live" and "shadow" (HyperLogLog, within 2% or so).
        n_items: how many each has.
    """

    version: str
    current: str
    share: float
    started_s: float
    surfaces: Mapping[str, Surface]
    items: Mapping[str, int]
    n_items: Mapping[str, int]


def shadow_report(client: redis.Redis, keys: Keys, versions: Versions) -> ShadowReport:
    """What is known of the trial that is under way.

    Raises:
        InputError: none is.
    """
    said: Any = client.hgetall(keys.shadow)
    current = versions.current()
    if not said or current is None:
        raise InputError("no version is shadowed, so there is nothing to report: recsys shadow start BUNDLE")
    version = said[b"version"].decode()
    tally: Any = client.hgetall(keys.shadow_tally(version))
    items: dict[str, Any] = {side: client.pfcount(keys.shadow_items(version, side)) for side in SIDES}
    of_each = zip(SIDES, (current, version), strict=True)
    return ShadowReport(
        version,
        current,
        float(said[b"share"]),
        float(said[b"started"]),
        read(tally),
        items,
        {side: int(versions.meta(one)["n_items"]) for side, one in of_each},
    )
