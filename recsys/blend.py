"""Several scorers as one: a weighted sum of their standardized scores, the weights chosen on validation.

    z_m(u, i) = (s_m(u, i) - mean_i s_m(u, .)) / std_i s_m(u, .),
    score(u, i) = sum over members m of w_m sign(z_m) |z_m|^p,      w_m >= 0, sum w_m = 1.

Standardized by user, members of any scale can be added, and one that has nothing to say to a user (all scores equal)
adds 0. A p below 1 holds down members whose few best items stand far above the rest. The weights go up a hill on
ndcg@`depth`, one weight at a time over a coarse grid, from the best single member: that moves with every rank of a
held-out item, where recall@k + ndcg@k, by which the blend is judged, also jumps at place k.
Validation users are dealt into folds; the weights are chosen on each fold's complement, and the mean of these choices
is used: a weight that pleases only some users by chance is averaged down, and the recall@k + ndcg@k that the choices
reach on the folds they did not see says what the blend is worth ("cross_fit" in the params), and which p is better,
and how far to move the weights towards equal ones:

    w_m <- (1 - e) w_m + e / n,      n members, e in [0, 1]

Where few users decide, or members are alike in worth, chosen weights follow chance, and equal ones are hard to beat
(the forecast combination puzzle; Smith & Wallis 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from features.section import Section
from recsys import metrics
from recsys.held_out import Split
from recsys.scorer import Scorer
from recsys.threads import side_by_side

CHUNK_SCORES = 2**22
"""Most scores of one member held at once by each thread."""
ENDED = np.float32(-1e9)
"""Score of a place without an item: below all others, and finite, so that a weight of 0 leaves it 0."""


class BlendConfig(Section):
    """How the weights are chosen."""

    k: PositiveInt = 20
    """List length that a blend is for, and judged by."""
    depth: PositiveInt = 100
    """List length whose ndcg chooses the weights."""
    users: PositiveInt = 6_000
    """At most so many validation users, chosen at random, decide."""
    folds: int = Field(default=4, ge=2)
    """Parts of the validation users, each left out of one choice."""
    shortlist: PositiveInt = 150
    """Each member's best items a user, among which alone the weights are tried."""
    factors: tuple[float, ...] = Field(default=(0.0, 0.25, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 4.0), min_length=1)
    """What a weight is multiplied by, of which the best stays; a member without weight is tried at these shares."""
    passes: PositiveInt = 4
    """Most passes over the weights."""
    evenness: tuple[float, ...] = Field(default=(0.0,), min_length=1)
    """Values of e in [0, 1], likewise; 0 leaves the chosen weights as they are."""
    powers: tuple[PositiveFloat, ...] = Field(default=(1.0, 0.5), min_length=1)
    """Values of p, of which the one that is worth more on unseen folds is taken."""

    @field_validator("evenness")
    @classmethod
    def _shares(cls, evenness: tuple[float, ...]) -> tuple[float, ...]:
        for one in evenness:
            if not 0 <= one <= 1:
                raise ValueError(f"evenness must be in [0, 1], got {one:g}")
        return evenness


@dataclass(frozen=True, eq=False)
class BlendScorer:
    """The weighted sum of standardized scores.

    Args:
        name: short name.
        members: what is blended.
        weights: float64 [n_members].
        power: p.
        params: what was chosen.
        fit_s: seconds spent on fitting, members included.
    """

    name: str
    members: Sequence[Scorer]
    weights: NDArray[np.float64]
    power: float = 1.0
    params: Mapping[str, object] = field(default_factory=dict)
    fit_s: float = float("nan")

    def score(self, user_idx: NDArray[np.int64]) -> NDArray[np.float32]:
        """Blended scores, float32 [n, n_items]; members of weight 0 are not asked."""
        asked = [(weight, one) for weight, one in zip(self.weights, self.members, strict=True) if weight > 0]
        first, rest = asked[0], asked[1:]
        total = np.float32(first[0]) * raised(standardized(first[1].score(user_idx)), self.power)
        for weight, member in rest:
            total += np.float32(weight) * raised(standardized(member.score(user_idx)), self.power)
        return total


def standardized(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of mean 0 and standard deviation 1; a row of equal scores becomes 0. float32 [n, n_items]."""
    moved = scores - scores.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.einsum("ij,ij->i", moved, moved, dtype=np.float64) / max(moved.shape[1], 1))
    level = spread > 1e-6 * np.abs(scores).max(axis=1, initial=0.0)
    moved *= np.where(level, 1.0 / np.where(level, spread, 1.0), 0.0).astype(np.float32)[:, None]
    result: NDArray[np.float32] = moved
    return result


def raised(scores: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """sign(z) |z|^p, float32 of the same shape."""
    if power == 1:
        return scores
    result: NDArray[np.float32] = np.copysign(np.abs(scores) ** np.float32(power), scores)
    return result


@dataclass(frozen=True, eq=False)
class Shortlists:
    """What the members say of the items that may come to the top.

    Args:
        scores: float32 [n_members, n_users, width]; standardized, `ENDED` where a list has.
        liked: bool [n_users, width]; which of these items are held out.
        n_held: int64 [n_users]; held-out items, on the list or not.
    """

    scores: NDArray[np.float32]
    liked: NDArray[np.bool_]
    n_held: NDArray[np.int64]

    def of(self, users: NDArray[np.int64]) -> Shortlists:
        """The lists of some of the users (rows)."""
        return Shortlists(self.scores[:, users], self.liked[users], self.n_held[users])

    def blended(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """The weighted sum of what the members say, float32 [n_users, width]."""
        total = np.zeros(self.liked.shape, dtype=np.float32)
        for weight, said in zip(weights.astype(np.float32), self.scores, strict=True):
            total += weight * said
        return total

    def worth(self, blended: NDArray[np.float32], k: int) -> float:
        """recall@k + ndcg@k of a blend's scores [n_users, width], averaged over the users."""
        hits = self._hits(blended, k)
        return float((metrics.recall(hits, self.n_held, k) + metrics.ndcg(hits, self.n_held, k)).mean())

    def order(self, blended: NDArray[np.float32], depth: int) -> float:
        """ndcg@depth of a blend's scores [n_users, width], averaged over the users."""
        return float(metrics.ndcg(self._hits(blended, depth), self.n_held, depth).mean())

    def _hits(self, blended: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
        """Whether the k best are held out, best first: bool [n_users, min(k, width)]."""
        width = min(k, blended.shape[1])
        top = np.argpartition(-blended, width - 1, axis=1)[:, :width]
        order = np.argsort(-np.take_along_axis(blended, top, axis=1), axis=1, kind="stable")
        return np.take_along_axis(self.liked, np.take_along_axis(top, order, axis=1), axis=1)


def shortlists(members: Sequence[Scorer], split: Split, config: BlendConfig, *, seed: int) -> Shortlists:
    """Each member's best items for the validation users, the training items left out, and what all say of them."""
    seen, held = split.train.matrix(binary=True), split.valid.matrix(binary=True)
    users = np.flatnonzero(np.diff(held.indptr))
    if len(users) > config.users:
        users = np.sort(np.random.default_rng(seed).choice(users, config.users, replace=False))
    n_items = seen.shape[1]
    each = min(config.shortlist, n_items)
    width = min(each * len(members), n_items)
    scores = np.full((len(members), len(users), width), ENDED)
    liked = np.zeros((len(users), width), dtype=np.bool_)
    step = max(1, CHUNK_SCORES // n_items)

    def ask(start: int) -> None:
        rows = users[start : start + step]
        said = np.stack([standardized(member.score(rows)) for member in members])
        known = seen[rows].tocoo()
        wanted = np.zeros((len(rows), n_items), dtype=np.bool_)
        for one in said:
            one[known.row, known.col] = ENDED
            best = np.argpartition(-one, each - 1, axis=1)[:, :each]
            np.put_along_axis(wanted, best, np.take_along_axis(one, best, axis=1) > ENDED, axis=1)
        row, item = np.nonzero(wanted)
        count = wanted.sum(axis=1)
        place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        scores[:, start + row, place] = said[:, row, item]
        liked[start + row, place] = held[rows].toarray()[row, item] > 0

    side_by_side(ask, range(0, len(users), step))
    return Shortlists(scores, liked, np.diff(held[users].indptr).astype(np.int64))


def choose_blend(
    lists: Shortlists, config: BlendConfig, *, seed: int
) -> tuple[NDArray[np.float64], float, dict[str, float]]:
    """The weights under each power, and of the powers the one whose cross-fit is best.

    Returns:
        Weights float64 [n_members], the power, and what `choose_weights` tells.
    """
    chosen = []
    for power in config.powers:
        under = np.where(lists.scores > ENDED, raised(lists.scores, power), ENDED)
        weights, told = choose_weights(replace(lists, scores=under), config, seed=seed)
        chosen.append((weights, power, told))
    return max(chosen, key=lambda one: one[2]["cross_fit"])


def choose_weights(
    lists: Shortlists, config: BlendConfig, *, seed: int
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """The mean of the weights chosen on each fold's complement, moved towards equal ones as unseen folds like it best.

    Returns:
        Weights float64 [n_members] that sum to 1, and recall@k + ndcg@k, summed, of the blend on the folds that its
        weights were not chosen on, and of the best single member: "cross_fit" and "best_member"; "evenness" too, where
        several values are tried.
    """
    n_users = len(lists.n_held)
    fold = np.random.default_rng(seed).permutation(n_users) % config.folds
    chosen = side_by_side(lambda number: _climb(lists.of(np.flatnonzero(fold != number)), config), range(config.folds))
    unseen = np.zeros(len(config.evenness))
    for number, weights in enumerate(chosen):
        apart = lists.of(np.flatnonzero(fold == number))
        n_apart = len(apart.n_held)
        for place, evenness in enumerate(config.evenness if n_apart else ()):
            worth = apart.worth(apart.blended(evened(weights, evenness)), config.k)
            unseen[place] += worth * n_apart / n_users
    alone = max(lists.worth(said, config.k) for said in lists.scores)
    best = int(unseen.argmax())
    told = {"cross_fit": round(float(unseen[best]), 6), "best_member": round(alone, 6)}
    if len(config.evenness) > 1:
        told["evenness"] = config.evenness[best]
    return evened(np.mean(chosen, axis=0), config.evenness[best]), told


def evened(weights: NDArray[np.float64], evenness: float) -> NDArray[np.float64]:
    """Weights moved towards equal ones, float64 [n_members]."""
    result: NDArray[np.float64] = (1 - evenness) * weights + evenness / len(weights)
    return result


def _climb(lists: Shortlists, config: BlendConfig) -> NDArray[np.float64]:
    """One weight at a time, as long as a pass over all of them makes it better.

    What the other members say together is summed once a member; that weights sum to 1 changes no order.
    """
    n_members = len(lists.scores)
    alone = [lists.order(said, config.depth) for said in lists.scores]
    best = max(alone)
    best_weights: NDArray[np.float64] = np.eye(n_members)[alone.index(best)]
    for _ in range(config.passes):
        before = best
        for member in range(n_members):
            start, own = best_weights, lists.scores[member]
            others = np.where(np.arange(n_members) == member, 0.0, start)
            rest = lists.blended(others)
            for factor in config.factors:
                weight = factor * start[member] if start[member] > 0 else factor / n_members
                if not others.sum() + weight > 0:
                    continue
                reached = lists.order(rest + np.float32(weight) * own, config.depth)
                if reached > best:
                    weights = others.copy()
                    weights[member] = weight
                    best, best_weights = reached, weights / weights.sum()
        if best <= before:
            break
    return best_weights
