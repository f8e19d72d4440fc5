"""Pictures that are the same though no byte need be: found by hash and by embedding, judged by laying them over."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from features.pictures.alignment import difference, small
from features.pictures.decoding import UnreadableImage, decode
from features.pictures.hashing import near_pairs, picture_hash
from features.pictures.sources import ImageSource
from features.progress import bar
from features.vectors.cells import nearest_in_cells

KEPT = 4096
"""Small pictures kept while pairs are compared."""
OPEN_AT_ONCE = 512


@dataclass(frozen=True)
class Copies:
    """What was found.

    Args:
        pairs: the rows of two items, the lower first, whose pictures are the same -> how far they differ, in gray
            levels of 256; of items that name the same file only those with the first of them.
        compared: pairs that were laid over each other.
        threshold: cosine of embeddings from which they were.
    """

    pairs: dict[tuple[int, int], float]
    compared: int
    threshold: float


def find_copies(
    source: ImageSource, names: list[str], vectors: NDArray[np.float32], *, radius: int, neighbors: int, most: float
) -> Copies:
    """Find items whose pictures are the same: encoded again, scaled, or one a part of the other.

    Laid over each other are pictures whose hashes are near, and each with its nearest by embedding where they are
    nearer than the last of these is to half of the shop's pictures (the last, as it is hardly ever a copy).

    Args:
        source: the pictures.
        names: of each item's picture, "" for none; those that cannot be read are left out.
        vectors: of each item's picture, float32 [n_items, d], rows of length 1 or 0.
        radius: bits by which hashes may differ.
        neighbors: nearest ones by embedding that are compared.
        most: how far the same picture may differ; see `features.pictures.alignment`.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name:
            rows_of[name].append(row)
    hashed = _hashes(source, list(rows_of))
    firsts = [rows_of[name][0] for name in hashed]
    files = list(hashed)
    codes = np.stack([*hashed.values()]) if hashed else np.zeros((0, 2), dtype=np.uint64)
    different, place = np.unique(codes, axis=0, return_inverse=True)
    members: dict[int, list[int]] = defaultdict(list)
    for at, of in enumerate(place.tolist()):
        members[of].append(at)
    candidates = {(at[0], other) for at in members.values() for other in at[1:]}
    near = near_pairs(different, radius=radius)
    candidates |= {(members[a][0], members[b][0]) for a, b in near.tolist()}
    near_by = nearest_in_cells(vectors[firsts], neighbors)
    known = near_by.score[:, -1][np.isfinite(near_by.score[:, -1])]
    threshold = float(np.median(known)) if len(known) else 1.0
    for at, column in zip(*np.nonzero(near_by.score >= threshold), strict=True):
        candidates.add((int(at), int(near_by.idx[at, column])))
    asked = sorted({(min(pair), max(pair)) for pair in candidates})
    pairs = {(rows[0], row): 0.0 for rows in rows_of.values() for row in rows[1:]}

    @lru_cache(KEPT)
    def opened(at: int) -> Image.Image:
        return small(decode(source.read(files[at])))

    with bar("comparing pictures", total=len(asked)) as progress:
        for a, b in asked:
            apart = difference(opened(a), opened(b))
            progress.advance()
            if apart <= most:
                pairs[min(firsts[a], firsts[b]), max(firsts[a], firsts[b])] = apart
    return Copies(pairs, len(asked), threshold)


def _hashes(source: ImageSource, names: list[str]) -> dict[str, NDArray[np.uint64]]:
    """The hash of each picture that can be read."""

    def of(name: str) -> NDArray[np.uint64] | None:
        try:
            return picture_hash(decode(source.read(name)))
        except (UnreadableImage, KeyError, OSError):  # the picture check tells of it
            return None

    found: dict[str, NDArray[np.uint64]] = {}
    with bar("hashing pictures", total=len(names)) as progress, ThreadPoolExecutor(2) as pool:
        for start in range(0, len(names), OPEN_AT_ONCE):
            part = names[start : start + OPEN_AT_ONCE]
            for name, code in zip(part, pool.map(of, part), strict=True):
                progress.advance()
                if code is not None:
                    found[name] = code
    return found
