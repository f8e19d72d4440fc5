"""What users did besides what a split is about: views beside the purchases or likes that are to be predicted.

A split lists pairs because of some kinds of events; all other kinds may be told to models as further knowledge of users
and items, if nothing of what is held out is told with them. So an event is told only if

- its pair has no event of a kind that listed pairs have, which is every listed pair (held out or not) and every pair
  that the split leaves out though it is of what is predicted;
- its user and its item have training pairs, so that a new one stays new;
- it is not later than the user's last training event, where events have times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.errors import InputError, nearest_name
from features.interactions import Interactions
from recsys.held_out import SIDES, Split, among, pair_keys


@dataclass(frozen=True, eq=False)
class OtherBehavior:
    """Events that are told, and how many are not.

    Args:
        events: over the vocabularies of the split.
        left_out: rule → events of the kinds asked for that broke it; each is counted by the first rule it breaks.
    """

    events: Interactions
    left_out: dict[str, int]

    def told(self) -> str:
        """What became of the events, in a sentence for a protocol."""
        kinds, counts = np.unique(self.events.event_type.astype(str), return_counts=True)
        of = ", ".join(f"{count:,} of type {kind}" for kind, count in zip(kinds, counts, strict=True)) or "none"
        less = "; ".join(f"{count:,} {why}" for why, count in self.left_out.items() if count)
        return f"Models are also told of other behavior: {of}{less and f' (left out: {less})'}."


def checked_kinds(interactions: Interactions, kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds, each once.

    Raises:
        InputError: no event is of one of them.
    """
    there = sorted(set(interactions.event_type.astype(str).tolist()))
    for kind in kinds:
        if kind not in there:
            meant = nearest_name(kind, there)
            raise InputError(
                f"--beside must name types of events that there are ({', '.join(there)}), got {kind!r}"
                + ("" if meant is None else f"; did you mean {meant!r}?")
            )
    return tuple(dict.fromkeys(kinds))


def without_kinds(interactions: Interactions, kinds: Sequence[str]) -> Interactions:
    """The events of all other kinds."""
    return interactions.where(~np.isin(interactions.event_type.astype(str), kinds))


def other_behavior(interactions: Interactions, split: Split, kinds: Sequence[str]) -> OtherBehavior:
    """The events of some kinds that may be told beside a split; see the head of this file.

    Args:
        interactions: all events of the shop, over the split's vocabularies.
        split: what is learned, chosen on and judged on.
        kinds: types of events.

    Raises:
        InputError: there is no event of a kind, or a listed pair has events of these kinds alone, so that they are
            what is to be predicted.
    """
    kinds = checked_kinds(interactions, kinds)
    asked = np.isin(interactions.event_type.astype(str), kinds)
    key = pair_keys(interactions)
    listed = np.unique(np.concatenate([pair_keys(getattr(split, side)) for side in SIDES]))
    of_listed = among(key, listed)
    predicted = np.unique(interactions.event_type[of_listed & ~asked].astype(str))
    of_predicted = ~asked & np.isin(interactions.event_type.astype(str), predicted)
    about = np.unique(key[of_predicted])
    bare = listed[~among(listed, about)]
    if len(bare):
        user, item = divmod(int(bare[0]), len(interactions.items))
        raise InputError(
            f"--beside must name types of events that the split is not about, but {', '.join(kinds)} is all there is "
            f"of {len(bare):,} of its pairs, such as ({interactions.users[user]!r}, {interactions.items[item]!r})"
        )
    train = split.train
    met_user, met_item = np.zeros(len(train.users), dtype=np.bool_), np.zeros(len(train.items), dtype=np.bool_)
    met_user[train.user_idx], met_item[train.item_idx] = True, True
    rules = {
        "of pairs that also have an event that is to be predicted": among(key, about),
        "of users without training pairs": ~met_user[interactions.user_idx],
        "of items without training pairs": ~met_item[interactions.item_idx],
    }
    if interactions.timestamp is not None and train.timestamp is not None:
        last = np.full(len(train.users), -np.inf)
        np.fmax.at(last, train.user_idx, train.timestamp)
        rules["not known to be before the user's last training event"] = ~(
            interactions.timestamp <= last[interactions.user_idx]
        )
    kept, left_out = asked, {}
    for why, broken in rules.items():
        left_out[why] = int((kept & broken).sum())
        kept = kept & ~broken
    return OtherBehavior(interactions.where(kept), left_out)
