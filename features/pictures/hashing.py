"""Perceptual hashes: 128 bits that hardly change when a picture is encoded again or scaled, and who is near by them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

Codes = NDArray[np.uint64]

BANDS = 6
"""The bits are cut into so many bands. Codes that differ in at most 2 * BANDS - 1 bits differ in at most one bit in
at least one band (pigeonhole), so that looking up each band with no and with any one bit turned finds them all
(multi-index hashing: Norouzi, Punjani and Fleet, 2012)."""
MAX_RADIUS = 2 * BANDS - 1
PAIRS_AT_ONCE = 4_000_000


def picture_hash(picture: Image.Image) -> Codes:
    """The hash of a picture, uint64 [2]: its low frequencies, and its slopes.

    First: signs of the 8 x 8 lowest frequencies of its gray values against their median (pHash: Zauner, 2010).
    Second: whether it gets brighter from one of 9 x 8 fields to the next on the right (dHash).
    """
    gray = picture.convert("L")
    low = dctn(np.asarray(gray.resize((32, 32), Image.Resampling.BOX), dtype=np.float64), norm="ortho")[:8, :8]
    fields = np.asarray(gray.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.stack([(low > np.median(low)).ravel(), (fields[:, 1:] > fields[:, :-1]).ravel()])
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def distances(a: Codes, b: Codes) -> NDArray[np.int64]:
    """Bits by which codes differ, [..., 2] and [..., 2] to int64 [...]."""
    return np.asarray(np.bitwise_count(a ^ b).sum(axis=-1), dtype=np.int64)


def near_pairs(codes: Codes, *, radius: int = MAX_RADIUS) -> NDArray[np.int64]:
    """All pairs of codes that differ in at most `radius` bits, without comparing all pairs.

    Args:
        codes: uint64 [n, 2], each of them once (group equal ones before).
        radius: bits, at most `MAX_RADIUS`.

    Returns:
        int64 [n_pairs, 2], the lower place first, sorted.

    Raises:
        ValueError: the radius is larger than the bands allow.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius must be in [0, {MAX_RADIUS}], got {radius}")
    bits = np.unpackbits(codes.astype(">u8").view(np.uint8).reshape(len(codes), 16), axis=1)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for band in np.array_split(bits, BANDS, axis=1):
        keys = band.astype(np.int64) @ (1 << np.arange(band.shape[1], dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        for turned in (0, *(1 << np.arange(band.shape[1]))):
            for a, b in _joined(keys ^ turned, keys[order], order):
                near = (a < b) & (distances(codes[a], codes[b]) <= radius)
                found.append(np.stack([a[near], b[near]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _joined(
    asked: NDArray[np.int64], keys: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places whose asked key is another place's key, a bounded number at once."""
    first, last = np.searchsorted(keys, asked, "left"), np.searchsorted(keys, asked, "right")
    total = np.concatenate([[0], np.cumsum(last - first)])
    start = 0
    while start < len(asked):
        end = max(start + 1, int(np.searchsorted(total, total[start] + PAIRS_AT_ONCE, "right")) - 1)
        count = (last - first)[start:end]
        rows = np.repeat(np.arange(start, end), count)
        within = np.arange(len(rows)) - np.repeat(total[start:end] - total[start], count)
        yield rows, order[first[rows] + within]
        start = end
