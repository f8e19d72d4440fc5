"""What all models of a comparison share: the split, what is known of the items, and the protocol in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from features.checkpoint import fingerprint
from features.errors import InputError
from features.interactions import Interactions
from recsys.held_out import Pairs, Split
from recsys.models.knowledge import Knowledge
from recsys.split import time_rank

RANKING = """\
All items are ranked for each user with test pairs, except those known of the user before: training and validation \
pairs. Equal scores stand in random order. Averages are over these users, then over the seeds; intervals are 95% \
percentile bootstrap intervals over users, of each user's mean over the seeds."""
CHOICE = """\
Settings, and the epoch at which training stops, are chosen by recall@20 on the validation pairs alone; test is judged \
once a seed."""
REFIT = """\
Then each model is fitted again on training and validation pairs together, with the settings and for the epochs \
chosen, and that fit is judged."""
NO_REFIT = "No model is fitted again on training and validation together."
HELD_SHARE = 0.1
"""Share of a user's training pairs that is held out where a data set has no validation pairs."""
REFIT_BY_CUSTOM = ("gowalla",)
"""Data sets, by name, whose published figures are of models fitted on training and validation pairs."""

BESIDE = """\
What is told is of no held-out pair. Items that it shows of a user are ranked for this user as all others, so a model \
that learns that they are not what is asked for gains by that alone; metrics marked "told left out" are of rankings \
without them, for all models alike, told or not."""
TOLD_LEFT_OUT = ", told left out"
"""What follows the name of a metric of rankings without the items that other behavior shows of the user."""

Valid = Literal["own", "last"]
"""Where validation pairs come from: the data set, or the end of each user's training pairs."""
LAST = f"""\
Validation pairs are the last {HELD_SHARE:.0%} of each user's training pairs, by time or, where none is told, in the \
order of the table; those of the data set itself, if any, are learned from."""

_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, ready to compare models on.

    Args:
        name: of the data set.
        split: the sides as they are used for choosing.
        known: what models may know beside the events.
        final: the sides of the last fit, whose training side holds the validation pairs too; None where models are
            judged as they were chosen.
        remarks: what else belongs to the protocol, in sentences.
        told: other behavior that all models are judged without, too, also one that `known` tells nothing of it; None
            where none is told.
    """

    name: str
    split: Split
    known: Knowledge
    final: Split | None
    remarks: tuple[str, ...] = ()
    told: Interactions | None = None

    @property
    def protocol(self) -> str:
        """How the numbers are made, in words."""
        return " ".join([RANKING, CHOICE, NO_REFIT if self.final is None else REFIT, *self.remarks])

    def fingerprint(self) -> str:
        """Hex digest of everything that results depend on."""
        sides = [self.split.train, self.split.valid, self.split.test]
        weights = (part for side in sides for part in (side.user_idx, side.item_idx, side.weight))
        order = (part for side in sides for part in (side.timestamp, side.placed) if part is not None)
        types = ("\n".join(map(str, side.event_type)) for side in sides)  # each is a relation of its own
        told = () if self.told is None else (self.told.user_idx, self.told.item_idx)
        return fingerprint(self.known.fingerprint(), str(self.final is not None), *weights, *order, *types, *told)


def task_of(name: str, split: Split, known: Knowledge, *, refit: bool | None, valid: Valid = "own") -> Task:
    """A task from a split.

    Args:
        name: of the data set.
        split: its own sides. Where it has no validation pairs, some training pairs become them, and models are fitted
            again with them.
        known: what models may know.
        refit: whether the last fit is on training and validation pairs; None as is the data set's custom.
        valid: "last" where the end of each user's training pairs shall take the place of its validation side.

    Raises:
        InputError: there is nothing to learn from, or nothing to judge on.
    """
    for side in ("train", "test"):
        if len(getattr(split, side)) == 0:
            raise InputError(
                f"{name}: the {side} side of split {split.name!r} has no pairs, so models cannot be compared"
            )
    if valid == "last":
        return _on_the_last(name, split, known, refit=refit)
    if len(split.valid):
        if not (name in REFIT_BY_CUSTOM if refit is None else refit):
            return Task(name, split, known, None)
        return Task(name, split, known, _with_valid(split))
    remark = (
        f"The data set has no validation pairs: {HELD_SHARE:.0%} of each user's training pairs were held out at random."
    )
    chosen_on = held_out(split, HELD_SHARE)
    _require_valid(name, chosen_on)
    return Task(name, chosen_on, known, None if refit is False else split, (remark,))


def _on_the_last(name: str, split: Split, known: Knowledge, *, refit: bool | None) -> Task:
    """The end of the training pairs as validation side, and the data set's own one among what is learned from."""
    chosen_on = held_out(split, HELD_SHARE, last=True)
    _require_valid(name, chosen_on)
    chosen_on = replace(chosen_on, train=_both(chosen_on.train, split.valid))
    return Task(name, chosen_on, known, None if refit is False else _with_valid(split), (LAST,))


def _with_valid(split: Split) -> Split:
    """Training and validation side as one."""
    return replace(split, train=_both(split.train, split.valid), valid=split.valid.where(_NONE))


def _both(train: Interactions, valid: Interactions) -> Interactions:
    """Training and validation pairs. Without times a table's order is that of time, but where a pair of the other side
    belongs in it is not known.
    """
    if train.timestamp is None or valid.timestamp is None:
        train, valid = (replace(one, placed=np.full(len(one), one is train)) for one in (train, valid))
    return joined(train, valid)


def _require_valid(name: str, split: Split) -> None:
    if len(split.valid) == 0:
        raise InputError(f"{name}: no user has three training pairs, so none can be held out to choose models on")


def joined(earlier: Interactions, later: Interactions) -> Interactions:
    """Events of one vocabulary, one after the other; times stay only where both have them."""
    times = placed = None
    if earlier.timestamp is not None and later.timestamp is not None:
        times = np.concatenate([earlier.timestamp, later.timestamp])
    if earlier.placed is not None and later.placed is not None:
        placed = np.concatenate([earlier.placed, later.placed])
    return replace(
        earlier,
        user_idx=np.concatenate([earlier.user_idx, later.user_idx]),
        item_idx=np.concatenate([earlier.item_idx, later.item_idx]),
        event_type=np.concatenate([earlier.event_type, later.event_type]),
        weight=np.concatenate([earlier.weight, later.weight]),
        timestamp=times,
        placed=placed,
    )


def held_out(split: Split, share: float, *, last: bool = False, seed: int = 0) -> Split:
    """A share of each user's training pairs as validation: max(1, round(share n)) of n >= 3, none of fewer.

    Args:
        split: whose validation side is left out of it.
        share: in (0, 1).
        last: the pairs first met last, by time and, without times or where they are equal, in the order of the events;
            otherwise random ones.
        seed: of the choice.

    Raises:
        InputError: the last ones are asked for, and some events have a time and others none.
    """
    timed = last and split.train.timestamp is not None
    pairs = Pairs.of(split.train, time_rank(split.train, "--valid last") if timed else None)
    order = np.argsort(-pairs.first_rank) if last else np.random.default_rng(seed).permutation(len(pairs.user))
    order = order[np.argsort(pairs.user[order], kind="stable")]
    user = pairs.user[order]
    count = np.bincount(user, minlength=len(split.train.users))
    place = np.arange(len(order)) - (np.cumsum(count) - count)[user]
    wanted = np.where(count >= 3, np.maximum(np.rint(share * count), 1), 0)
    held = np.zeros(len(order), dtype=np.bool_)
    held[order[place < wanted[user]]] = True
    return replace(
        split,
        train=split.train.where(~held[pairs.of_event]),
        valid=split.train.where(np.sort(pairs.first_event[held])),
    )
