"""Every estimator as a formula over sums: mean of some columns plus the ratio of two others.

    value = Σ mean / n + Σ top / Σ bottom

with the columns of `terms.py`; the papers are in docs/replay.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsys.replay.survey import LEVELS


@dataclass(frozen=True)
class Formula:
    """One estimator.

    Args:
        about: what it does, in a line.
        mean: columns whose means are added up.
        ratio: columns (top, bottom) of a ratio of sums that is added, or None.
        weight: the column of the weights it puts on rewards, "" where it puts none; tells how many rows count.
    """

    about: str
    mean: tuple[str, ...] = ()
    ratio: tuple[str, str] | None = None
    weight: str = ""


def _weighted(about: str, column: str) -> tuple[Formula, Formula]:
    """Rewards weighted by a column, as a mean and over the sum of the weights."""
    top = f"{column}r" if len(column) == 1 else f"{column} r"
    return (
        Formula(about, mean=(top,), weight=column),
        Formula(f"{about}; over the sum of the weights", ratio=(top, column), weight=column),
    )


_IPS, _SNIPS = _weighted("weights each reward by how much likelier the policy shows the item", "w")
_MIPS, _SNMIPS = _weighted("weights by clusters of like items instead of items; for many actions", "e")
_INDEPENDENT, _SN_INDEPENDENT = _weighted("a click depends on its own slot only", "slot")
_INTERACTION, _SN_INTERACTION = _weighted("a click depends on its slot and on all above", "chain")
_STANDARD, _SN_STANDARD = _weighted("a click depends on the whole list; assumes nothing, needs most data", "whole")

SINGLE: dict[str, Formula] = {
    "replay": Formula(
        "keeps the rows that the policy would have shown too, thinned to look like its own traffic",
        ratio=("kept r", "kept"),
        weight="kept",
    ),
    "ips": _IPS,
    "snips": _SNIPS,
    "dm": Formula("trusts the reward model alone", mean=("v",)),
    "dr": Formula(
        "the reward model, corrected by weighted surprises; right when either model or propensities are",
        mean=("v", "wd"),
        weight="w",
    ),
    "sndr": Formula("DR, its weights over their sum", mean=("v",), ratio=("wd", "w"), weight="w"),
    "mrdr": Formula("DR with a reward model fitted where DR needs it", mean=("mrdr",), weight="w"),
    "mips": _MIPS,
    "snmips": _SNMIPS,
}

RANKED: dict[str, Formula] = {
    "independent": _INDEPENDENT,
    "sn_independent": _SN_INDEPENDENT,
    "independent_dr": Formula("slot by slot, with a reward model", mean=("list v", "slot d"), weight="slot"),
    "reward_interaction": _INTERACTION,
    "cascade_dr": Formula("down to the slot, with a reward model", mean=("list v", "chain d"), weight="chain"),
    "standard": _STANDARD,
    "sn_reward_interaction": _SN_INTERACTION,
    "sn_standard": _SN_STANDARD,
}

FAMILIES: dict[str, tuple[str, str]] = {
    "clipped_ips": ("ips", "IPS, weights cut at a level"),
    "clipped_snips": ("snips", "the same over the sum of the cut weights"),
    "switch_dr": ("dr", "DR up to a weight, the model alone above"),
    "dros": ("dr", "DR with weights λw / (w² + λ)"),
}
"""Estimators with a knob: what they are without it, and what they do."""

ABOUT = {name: formula.about for name, formula in (SINGLE | RANKED).items()} | {
    name: about for name, (_, about) in FAMILIES.items()
}
"""What each estimator does, in a line."""


def member(family: str, level: int) -> Formula:
    """One member of a family; level 0 cuts most, levels rise up to `LEVELS` - 1."""
    if not 0 <= level < LEVELS:
        raise ValueError(f"a level must be in [0, {LEVELS}), got {level}")
    about = FAMILIES[family][1]
    clip, clipped = f"clip {level}", f"clip r {level}"
    return {
        "clipped_ips": Formula(about, mean=(clipped,), weight=clip),
        "clipped_snips": Formula(about, ratio=(clipped, clip), weight=clip),
        "switch_dr": Formula(about, mean=("v", f"switch d {level}"), weight="w"),
        "dros": Formula(about, mean=("v", f"shrink d {level}"), weight="w"),
    }[family]
