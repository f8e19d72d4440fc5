"""Events made from plain pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from features.interactions import Interactions
from features.vocabulary import Vocabulary


def events_of(
    pairs: Sequence[tuple[int, int]], *, n_users: int, n_items: int, weight: ArrayLike = 1.0, event_type: str = "like"
) -> Interactions:
    """One event a pair (user, item); users are `u0`, `u1`, ..., items `i0`, `i1`, ..."""
    user, item = (np.array([pair[column] for pair in pairs], dtype=np.int64) for column in (0, 1))
    return Interactions(
        Vocabulary.of(f"u{n}" for n in range(n_users)),
        Vocabulary.of(f"i{n}" for n in range(n_items)),
        user,
        item,
        np.array([event_type] * len(pairs), dtype=object),
        np.broadcast_to(np.asarray(weight, dtype=np.float32), len(pairs)).copy(),
    )
