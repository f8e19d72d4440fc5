"""Rows that must not count: shown twice in the log, of a visitor that is no person, of a list with a hole."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from features.section import Section
from recsys.replay.spill import Records


class HygieneConfig(Section):
    """Who counts as a bot."""

    bot_rows_an_hour: PositiveInt = 3_600
    """A user with more slots than this in one clock hour; a slot a second, all hour long."""
    bot_clicks: PositiveInt = 50
    """A user with at least so many clicks who clicks nearly everything."""
    bot_click_share: float = Field(default=0.9, gt=0, le=1)
    """What nearly everything is."""


VISIT = np.dtype([("user", "i4"), ("time", "f8"), ("clicked", "?")])
"""What is kept of a slot to tell a program by."""


def duplicates(slots: Records, names: list[str]) -> NDArray[np.bool_]:
    """All but the first kept of equal slots, bool [n]; `names` are the fields that tell two apart."""
    kept = np.flatnonzero(slots["kept"])
    again = np.zeros(len(slots), dtype=np.bool_)
    again[kept] = pd.DataFrame({name: slots[name][kept] for name in names}).duplicated().to_numpy()
    return again


def bots(visits: Records, config: HygieneConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users that behave like programs: those with too many slots in an hour, and those who click nearly everything.

    Args:
        visits: all slots of some known users, of dtype `VISIT`.
        config: the limits.
    """
    users, user = np.unique(visits["user"], return_inverse=True)
    clicks = np.bincount(user, weights=visits["clicked"], minlength=len(users))
    eager = (clicks >= config.bot_clicks) & (clicks >= config.bot_click_share * np.bincount(user, minlength=len(users)))
    timed = np.isfinite(visits["time"])
    hour = (visits["time"][timed] // 3600).astype(np.int64)
    pairs, n = np.unique(np.stack([user[timed], hour]), axis=1, return_counts=True)
    busy = np.unique(pairs[0][n > config.bot_rows_an_hour])
    return users[busy].astype(np.int64), users[eager].astype(np.int64)


def broken_lists(slots: Records) -> NDArray[np.bool_]:
    """What is left of requests of which a slot was refused, bool [n]: a list with a hole was shown to nobody."""
    found: NDArray[np.bool_] = np.isin(slots["request"], slots["request"][~slots["kept"]])
    return found
