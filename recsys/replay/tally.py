"""The second pass: columns summed into buckets of whole requests, from which values and every interval are made.

A bucket is a few requests (or users) put together by number. A log of at most `BUCKETS` units has one unit a bucket,
and resampling buckets is then the plain bootstrap; in a longer log a bucket is a group of units, and the variance of
group sums estimates the same variance with `BUCKETS` - 1 degrees of freedom. So a billion rows bootstrap as fast as
sixteen thousand, in the same memory, and two policies are resampled together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.progress import bar
from recsys.replay.log import Log, Rows
from recsys.replay.policy import Policy
from recsys.replay.survey import LogSurvey, PolicySurvey
from recsys.replay.terms import WEIGHTS, columns_of, terms

F64 = NDArray[np.float64]
Unit = Literal["request", "user"]
BUCKETS = 16_384
PARTS = ("n", "r", "w", "wr", "rr", "ww", "wrwr", "wwr", "rw", "rwr")
"""Sums kept per part of a grouping: enough for a self-normalized estimate and its error beside the log's own mean."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """Rows sorted into parts: stretches of time, positions, kinds of visitor.

    Args:
        name: such as "position".
        labels: of the parts.
        code: rows → int [m], the part of each; -1 belongs to none.
    """

    name: str
    labels: tuple[str, ...]
    code: Callable[[Rows], NDArray[np.integer]]


@dataclass(eq=False)
class Tally:
    """Sums of a log and its policies.

    Args:
        columns: names of the columns, in order.
        n: float64 [buckets]; rows.
        reward: float64 [buckets]; the log's own rewards.
        others: name → float64 [buckets]; other reward columns.
        sums: float64 [policies, columns, buckets].
        others_weighted: name → float64 [policies, buckets]; other rewards times the headline weight.
        squares: float64 [policies, columns]; Σ column², for columns that are weights, else 0.
        heaviest: float64 [policies, columns]; the largest entry of columns that are weights, else 0.
        matched: float64 [policies, columns]; rows in which a column is not 0.
        balance: float64 [policies, cells]; Σ headline weight by cell.
        exposure: float64 [policies, items].
        parts: grouping name → float64 [policies, len(PARTS), parts].
        headline: the column of the weights that parts are estimated with: of single slots, or of the lists down to a
            slot where propensities depend on what stands above and the log tells nothing else.
        n_units: units that were bucketed.
    """

    columns: tuple[str, ...]
    n: F64
    reward: F64
    sums: F64
    squares: F64
    heaviest: F64
    matched: F64
    balance: F64
    exposure: F64
    others: dict[str, F64] = field(default_factory=dict)
    others_weighted: dict[str, F64] = field(default_factory=dict)
    parts: dict[str, F64] = field(default_factory=dict)
    headline: str = "w"
    n_units: int = 0

    def at(self, policy: int, column: str) -> F64:
        """One column of one policy, float64 [buckets]."""
        found: F64 = self.sums[policy, self.columns.index(column)]
        return found


def tally(
    log: Log,
    policies: Sequence[Policy],
    on_log: LogSurvey,
    on_policies: Sequence[PolicySurvey],
    *,
    unit: Unit = "request",
    groupings: Sequence[Grouping] = (),
    seed: int = 0,
) -> Tally:
    """Go through a log once more and sum up every column of every policy.

    Args:
        log: the log.
        policies: what is judged.
        on_log: of the first pass.
        on_policies: of the first pass.
        unit: what is independent of what: requests, or users with all their requests.
        groupings: parts to sum by.
        seed: of rejection replay's draws.
    """
    columns = columns_of(log)
    listed = log.given_above and log.is_ranked
    headline = columns.index("w" if not listed else "chain" if log.marginal is None else "slot")
    weights = [place for place, name in enumerate(columns) if name in WEIGHTS]
    n_units = _units(log, unit)
    buckets = max(1, min(BUCKETS, n_units))
    found = Tally(
        columns=columns,
        n=np.zeros(buckets),
        reward=np.zeros(buckets),
        sums=np.zeros((len(policies), len(columns), buckets)),
        squares=np.zeros((len(policies), len(columns))),
        heaviest=np.zeros((len(policies), len(columns))),
        matched=np.zeros((len(policies), len(columns))),
        balance=np.zeros((len(policies), log.n_cells)),
        exposure=np.zeros((len(policies), len(log.items))),
        others={name: np.zeros(buckets) for name in log.others},
        others_weighted={name: np.zeros((len(policies), buckets)) for name in log.others},
        parts={grouping.name: np.zeros((len(policies), len(PARTS), len(grouping.labels))) for grouping in groupings},
        headline=columns[headline],
        n_units=n_units,
    )
    rng = np.random.default_rng([seed, 1])
    first = int(log.request_idx[0]) if len(log) else 0
    with bar(f"Replaying {log.name}", total=len(log)) as progress:
        for rows in log.chunks():
            bucket = _unit_of(rows, unit, first) % buckets
            found.n += np.bincount(bucket, minlength=buckets)
            found.reward += np.bincount(bucket, weights=rows.reward, minlength=buckets)
            for name, column in log.others.items():
                found.others[name] += np.bincount(bucket, weights=column[rows.within], minlength=buckets)
            draws = rng.random(len(rows))
            for number, (policy, on_policy) in enumerate(zip(policies, on_policies, strict=True)):
                filled = terms(rows, log, policy, on_log=on_log, on_policy=on_policy, draws=draws)
                for place, column in enumerate(filled):
                    found.sums[number, place] += np.bincount(bucket, weights=column, minlength=buckets)
                found.matched[number] += np.count_nonzero(filled, axis=1)
                weight, weighted = filled[headline], filled[headline + 1]
                found.squares[number, weights] += np.einsum("cm,cm->c", filled[weights], filled[weights])
                top = filled[weights].max(axis=1)
                found.heaviest[number, weights] = np.maximum(found.heaviest[number, weights], top)
                found.balance[number] += np.bincount(rows.cell, weights=weight, minlength=log.n_cells)
                found.exposure[number] += policy.exposure(rows)
                for name, column in log.others.items():
                    other = weight * column[rows.within]
                    found.others_weighted[name][number] += np.bincount(bucket, weights=other, minlength=buckets)
                for grouping in groupings:
                    found.parts[grouping.name][number] += _parts(grouping, rows, weight, weighted)
            progress.advance(len(rows))
    return found


def _units(log: Log, unit: Unit) -> int:
    if unit == "request":
        return int(log.request_idx[-1]) - int(log.request_idx[0]) + 1 if len(log) else 0
    users = max((int(rows.user_idx.max()) + 1 for rows in log.chunks()), default=0)
    return max(users, 1)


def _unit_of(rows: Rows, unit: Unit, first: int) -> NDArray[np.int64]:
    if unit == "request":
        return (rows.request_idx - first).astype(np.int64)
    return np.where(rows.user_idx >= 0, rows.user_idx, rows.request_idx).astype(np.int64)


def _parts(grouping: Grouping, rows: Rows, w: F64, wr: F64) -> F64:
    code = grouping.code(rows).astype(np.int64)
    inside = code >= 0
    code, n_parts, r = code[inside], len(grouping.labels), rows.reward[inside]
    w, wr = w[inside], wr[inside]
    columns = (np.ones_like(r), r, w, wr, r * r, w * w, wr * wr, w * wr, r * w, r * wr)
    return np.stack([np.bincount(code, weights=column, minlength=n_parts) for column in columns])
