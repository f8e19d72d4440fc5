"""What the columns of a log are called, here and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from features.errors import InputError

KNOWN: dict[str, tuple[str, ...]] = {
    "item_id": ("item_id", "action"),
    "position": ("position", "slot", "rank"),
    "click": ("click", "clicked", "reward"),
    "propensity": ("propensity", "propensity_score", "pscore"),
    "marginal": ("marginal",),
    "request_id": ("request_id", "recommendation_id"),
    "user_id": ("user_id",),
    "policy": ("policy", "behavior_policy"),
    "campaign": ("campaign", "surface"),
    "timestamp": ("timestamp", "time"),
    "page": ("page", "page_id"),
    "scenario": ("scenario",),
}
"""Our name → names it is found under, the first there is; a log needs only item_id and a reward."""


def find_columns(
    there: Sequence[str], asked: Mapping[str, str], *, file: str, also: Sequence[str] = ()
) -> dict[str, str]:
    """Which column of a file is which of ours.

    Args:
        there: the file's columns.
        asked: our name → the file's, as the user said; goes before `KNOWN`.
        file: for messages.
        also: further columns that the user named and that must be there.

    Raises:
        InputError: a name is unknown, or a column that was asked for is not there.
    """
    for ours, theirs in asked.items():
        if ours not in KNOWN:
            raise InputError(f"--column knows {', '.join(KNOWN)}, got {ours!r}")
        if theirs not in there:
            raise InputError(f"{file} has no column {theirs!r} (for {ours}); it has {', '.join(map(str, there))}")
    for name in also:
        if name not in there:
            raise InputError(f"{file} has no column {name!r}; it has {', '.join(map(str, there))}")
    found = {ours: next((name for name in names if name in there), "") for ours, names in KNOWN.items()}
    found = {ours: theirs for ours, theirs in found.items() if theirs} | dict(asked)
    if "item_id" not in found:
        raise InputError(
            f"{file} must have a column item_id, or --column item_id=NAME; it has {', '.join(map(str, there))}"
        )
    return found


def optional(frame: pd.DataFrame, found: Mapping[str, str], name: str) -> pd.Series | None:
    """A column by our name, None where the file has none."""
    return frame[found[name]] if name in found else None
