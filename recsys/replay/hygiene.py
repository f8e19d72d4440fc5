"""Rows that must not count: shown twice in the log, of a visitor that is no person, of a list with a hole."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from features.section import Section
from features.shop.cells import Sieve


class HygieneConfig(Section):
    """Who counts as a bot."""

    bot_rows_an_hour: PositiveInt = 3_600
    """A user with more slots than this in one clock hour; a slot a second, all hour long."""
    bot_clicks: PositiveInt = 50
    """A user with at least so many clicks who clicks nearly everything."""
    bot_click_share: float = Field(default=0.9, gt=0, le=1)
    """What nearly everything is."""


def refuse_duplicates(sieve: Sieve, keys: pd.DataFrame, shown: pd.Series) -> None:
    """Refuse all but the first of equal slots.

    Args:
        sieve: of the table.
        keys: what tells two slots apart, a row a slot.
        shown: the value to report.
    """
    kept = np.flatnonzero(sieve.kept)
    again = np.zeros(len(keys), dtype=np.bool_)
    again[kept] = keys.iloc[kept].duplicated().to_numpy()
    sieve.refuse(again, "the same slot is there twice", shown)


def refuse_bots(
    sieve: Sieve,
    user: NDArray[np.int64],
    *,
    timestamp: NDArray[np.float64],
    reward: NDArray[np.float64],
    shown: pd.Series,
    config: HygieneConfig,
) -> None:
    """Refuse all rows of users that behave like programs.

    Args:
        sieve: of the table.
        user: int64 [n]; -1 where nobody is known, who is never a bot.
        timestamp: float64 [n] UTC s; NaN where unknown.
        reward: float64 [n]; above 0 is a click.
        shown: the value to report.
        config: the limits.
    """
    known = sieve.kept & (user >= 0)
    if not known.any():
        return
    n_users = int(user.max()) + 1
    rows = np.bincount(user[known], minlength=n_users)
    clicks = np.bincount(user[known], weights=reward[known] > 0, minlength=n_users)
    eager = (clicks >= config.bot_clicks) & (clicks >= config.bot_click_share * rows)
    busy = np.zeros(n_users, dtype=np.bool_)
    timed = known & np.isfinite(timestamp)
    if timed.any():
        hour = (timestamp[timed] // 3600).astype(np.int64)
        hour -= hour.min()
        pair, n = np.unique(user[timed] * (hour.max() + 1) + hour, return_counts=True)
        busy[pair[n > config.bot_rows_an_hour] // (hour.max() + 1)] = True
    place = np.maximum(user, 0)
    sieve.refuse(
        known & busy[place], f"the user has over {config.bot_rows_an_hour} slots in an hour, like a program", shown
    )
    sieve.refuse(
        known & eager[place], f"the user clicks {config.bot_click_share:.0%} of everything, like a program", shown
    )


def refuse_broken_lists(sieve: Sieve, request: NDArray[np.int64], shown: pd.Series) -> None:
    """Refuse what is left of requests of which a slot was refused: a list with a hole was not shown to anyone.

    Args:
        sieve: of the table.
        request: int64 [n]; -1 where missing.
        shown: the value to report.
    """
    refused = request[~sieve.kept]
    broken = np.isin(request, refused[refused >= 0])
    sieve.refuse(broken, "another slot of the same request was refused", shown)
