"""Every estimator as a formula over sums: mean of some columns plus the ratio of two others.

    value = Σ mean / n + Σ top / Σ bottom

with the columns of `terms.py`. Each names its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsys.replay.survey import LEVELS


@dataclass(frozen=True)
class Formula:
    """One estimator.

    Args:
        mean: columns whose means are added up.
        ratio: columns (top, bottom) of a ratio of sums that is added, or None.
        weight: the column of the weights it puts on rewards, "" where it puts none; tells how many rows count.
        about: what it does, in a line.
        source: paper.
    """

    mean: tuple[str, ...] = ()
    ratio: tuple[str, str] | None = None
    weight: str = ""
    about: str = ""
    source: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it needs."""
        return (*self.mean, *(self.ratio or ()), *((self.weight,) if self.weight else ()))


SINGLE: dict[str, Formula] = {
    "replay": Formula(
        ratio=("kept r", "kept"),
        weight="kept",
        about="keeps the rows that the policy would have shown too, thinned to look like its own traffic",
        source="Li, Chu, Langford, Wang 2011; thinned by w / max w where logging is not uniform",
    ),
    "ips": Formula(
        mean=("wr",),
        weight="w",
        about="weights each reward by how much likelier the policy shows the item; unbiased, but wild",
        source="Horvitz, Thompson 1952; Strehl et al. 2010",
    ),
    "snips": Formula(
        ratio=("wr", "w"),
        weight="w",
        about="the same, over the sum of the weights: a little bias for much less noise",
        source="Swaminathan, Joachims 2015",
    ),
    "dm": Formula(mean=("v",), about="trusts the reward model alone", source="Beygelzimer, Langford 2009"),
    "dr": Formula(
        mean=("v", "wd"),
        weight="w",
        about="the reward model, corrected by weighted surprises; right when either model or propensities are",
        source="Dudík, Langford, Li 2011",
    ),
    "sndr": Formula(
        mean=("v",),
        ratio=("wd", "w"),
        weight="w",
        about="DR with self-normalized weights",
        source="Thomas, Brunskill 2016",
    ),
    "mrdr": Formula(
        mean=("mrdr",),
        weight="w",
        about="DR with a reward model fitted where DR needs it, by weights w² (1 - propensity)",
        source="Farajtabar, Chow, Ghavamzadeh 2018; the diagonal of its loss",
    ),
    "mips": Formula(
        mean=("er",),
        weight="e",
        about="weights by clusters of like items instead of items; for many actions",
        source="Saito, Joachims 2022; the log's cluster probabilities are counted in each cell",
    ),
    "snmips": Formula(ratio=("er", "e"), weight="e", about="MIPS, self-normalized", source="Saito, Joachims 2022"),
}

RANKED: dict[str, Formula] = {
    "independent": Formula(
        mean=("slot r",),
        weight="slot",
        about="a click depends on its own slot only (position-based)",
        source="Li, Abbasi-Yadkori, Kveton et al. 2018",
    ),
    "sn_independent": Formula(
        ratio=("slot r", "slot"),
        weight="slot",
        about="independent, self-normalized",
        source="Li, Abbasi-Yadkori, Kveton et al. 2018",
    ),
    "independent_dr": Formula(
        mean=("list v", "slot d"),
        weight="slot",
        about="independent with a reward model",
        source="Kiyohara et al. 2022, their position-based case",
    ),
    "reward_interaction": Formula(
        mean=("chain r",),
        weight="chain",
        about="a click depends on its slot and on all above",
        source="McInerney et al. 2020",
    ),
    "cascade_dr": Formula(
        mean=("list v", "chain d"),
        weight="chain",
        about="reward interaction with a reward model",
        source="Kiyohara et al. 2022, with a value model that is a table",
    ),
    "standard": Formula(
        mean=("whole r",),
        weight="whole",
        about="a click depends on the whole list; assumes nothing, needs most data",
        source="Precup, Sutton, Singh 2000",
    ),
    "sn_reward_interaction": Formula(
        ratio=("chain r", "chain"),
        weight="chain",
        about="reward interaction, self-normalized",
        source="McInerney et al. 2020",
    ),
    "sn_standard": Formula(
        ratio=("whole r", "whole"),
        weight="whole",
        about="standard, self-normalized",
        source="Precup, Sutton, Singh 2000",
    ),
}

FAMILIES: dict[str, tuple[str, str]] = {
    "clipped_ips": ("ips", "weights cut at a level; Ionides 2008, Bottou et al. 2013"),
    "clipped_snips": ("snips", "the same over the sum of the cut weights"),
    "switch_dr": ("dr", "DR up to a weight, the model alone above; Wang, Agarwal, Dudík 2017"),
    "dros": ("dr", "DR with weights λw / (w² + λ); Su, Dimakopoulou, Krishnamurthy, Dudík 2020"),
}
"""Estimators with a knob: what they are without it, and what they do."""


def member(family: str, level: int) -> Formula:
    """One member of a family; level 0 cuts most, levels rise up to `LEVELS` - 1."""
    if not 0 <= level < LEVELS:
        raise ValueError(f"a level must be in [0, {LEVELS}), got {level}")
    about = FAMILIES[family][1]
    if family == "clipped_ips":
        return Formula(mean=(f"clip r {level}",), weight=f"clip {level}", about=about)
    if family == "clipped_snips":
        return Formula(ratio=(f"clip r {level}", f"clip {level}"), weight=f"clip {level}", about=about)
    if family == "switch_dr":
        return Formula(mean=("v", f"switch d {level}"), weight="w", about=about)
    return Formula(mean=("v", f"shrink d {level}"), weight="w", about=about)
