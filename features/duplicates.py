"""Listings that are there twice: the same picture, the same words, or both, though no byte need be equal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from features.encoders.embeddings import Embeddings, ItemVectors
from features.pictures.copies import Copies, find_copies
from features.pictures.hashing import MAX_RADIUS
from features.section import Section
from features.shop.shop import Shop
from features.vectors.cells import nearest_in_cells

Kind = Literal["both", "same picture", "same words"]
Pairs = dict[tuple[int, int], float]

log = structlog.get_logger()


class DuplicateConfig(Section):
    """When two listings count as one."""

    radius: Annotated[NonNegativeInt, Field(le=MAX_RADIUS)] = MAX_RADIUS
    """Bits of 128 by which hashes may differ for pictures to be compared."""

    neighbors: PositiveInt = 4
    """Nearest pictures by embedding that are compared too: parts of a picture have other hashes."""

    difference: NonNegativeFloat = 6.5
    """Most that laid-over pictures may differ (see `features.pictures.alignment`): copies that were encoded again,
    scaled or cut by up to a tenth a side stay below, different articles of one make lie above."""

    least_words: Annotated[float, Field(gt=0, le=1)] = 0.97
    """Least cosine of texts that count as the same; it is raised where a shop's texts are all alike."""


@dataclass(frozen=True)
class Group:
    """Listings that are one.

    Args:
        rows: item rows, two or more; each of them is a duplicate of the first.
        kind: what is the same.
        difference: of each row's picture to the first's; NaN where pictures are not what is the same.
        words: cosine of each row's text with the first's; NaN where one has none.
        fused: cosine of words and picture together.
    """

    rows: tuple[int, ...]
    kind: Kind
    difference: tuple[float, ...]
    words: tuple[float, ...]
    fused: tuple[float, ...]


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        groups: the largest evidence first: both, same picture, same words.
        compared: pairs of pictures that were laid over each other.
        thresholds: "picture", the cosine from which pictures were compared, and "words", from which texts are the same.
    """

    groups: tuple[Group, ...]
    compared: int
    thresholds: dict[str, float] = field(default_factory=dict)


def find_duplicates(shop: Shop, vectors: ItemVectors, config: DuplicateConfig | None = None) -> Duplicates:
    """Find duplicate listings.

    Pictures are compared where their hashes or their embeddings are near, and count as the same if one lies over a
    part of the other. Words count as the same if they are equal, or name the same numbers and have a cosine above a
    threshold that follows from how near texts of the shop usually are. Chains do not grow: every member of a group is
    a duplicate of its first one.

    Args:
        shop: the shop.
        vectors: of its words and pictures.
        config: limits.
    """
    config = config or DuplicateConfig()
    texts = [" ".join(text.casefold().split()) for text in shop.catalog.texts()]
    same_words, of_words = _same_words(texts, vectors.text, config)
    copies = Copies({}, 0, float("nan"))
    if shop.images is not None:
        copies = find_copies(
            shop.images,
            shop.catalog.image.tolist(),
            vectors.image.vectors,
            radius=config.radius,
            neighbors=config.neighbors,
            most=config.difference,
        )
    same_picture = copies.pairs
    words_of = _Cosines(vectors)
    groups = []
    for rows in stars(same_picture):
        first = rows[0]
        both = all(
            texts[first] == texts[row]
            or (words_of(first, row) >= of_words and numbered(texts[first]) == numbered(texts[row]))
            for row in rows[1:]
        )
        apart = tuple(same_picture[min(first, row), max(first, row)] for row in rows[1:])
        groups.append(_group(rows, "both" if both else "same picture", apart, words_of))
    together = {pair for group in groups for pair in _pairs_of(group.rows)}
    for rows in stars({pair: cosine for pair, cosine in same_words.items() if pair not in together}):
        groups.append(_group(rows, "same words", (float("nan"),) * (len(rows) - 1), words_of))
    order: dict[Kind, int] = {"both": 0, "same picture": 1, "same words": 2}
    groups.sort(key=lambda group: (order[group.kind], group.rows))
    log.info("duplicates found", groups=len(groups), compared=copies.compared)
    return Duplicates(tuple(groups), copies.compared, {"picture": copies.threshold, "words": of_words})


def stars(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups of rows, each of which is paired with the group's first.

    A connected component is cut into stars: the row with most partners left takes them, until none is left. So a
    chain a-b-c-d, whose ends have nothing in common, does not become one group.

    Args:
        pairs: rows that are duplicates of each other.

    Returns:
        groups of two rows or more, the center first and the others in order; no row is in two.
    """
    partners: dict[int, set[int]] = defaultdict(set)
    for a, b in pairs:
        partners[a].add(b)
        partners[b].add(a)
    groups = []
    queue = sorted(partners, key=lambda row: (-len(partners[row]), row))
    while queue:
        best = max(queue, key=lambda row: (len(partners[row]), -row)) if len(queue) < 2000 else queue[0]
        taken = {best, *partners[best]}
        if len(taken) > 1:
            groups.append((best, *sorted(taken - {best})))
        for row in taken:
            for other in partners.pop(row, set()):
                if other in partners:
                    partners[other].discard(row)
        queue = [row for row in queue if partners.get(row)]
    return sorted(groups)


def _pairs_of(rows: tuple[int, ...]) -> set[tuple[int, int]]:
    return {(min(a, b), max(a, b)) for a in rows for b in rows if a != b}


class _Cosines:
    """Cosines of two rows' words, and of words and picture in equal shares where both have both."""

    def __init__(self, vectors: ItemVectors) -> None:
        self._vectors = vectors

    def __call__(self, a: int, b: int) -> float:
        return self._of(self._vectors.text, a, b)

    def fused(self, a: int, b: int) -> float:
        both = [self._of(modality, a, b) for modality in (self._vectors.text, self._vectors.image)]
        known = [cosine for cosine in both if not np.isnan(cosine)]
        return sum(known) / len(known) if known else float("nan")

    @staticmethod
    def _of(modality: Embeddings, a: int, b: int) -> float:
        known = modality.mask[a] and modality.mask[b]
        return float(modality.vectors[a] @ modality.vectors[b]) if known else float("nan")


def _group(rows: tuple[int, ...], kind: Kind, apart: tuple[float, ...], cosines: _Cosines) -> Group:
    first, *others = rows
    return Group(
        rows,
        kind,
        apart,
        tuple(cosines(first, row) for row in others),
        tuple(cosines.fused(first, row) for row in others),
    )


def _same_words(texts: list[str], vectors: Embeddings, config: DuplicateConfig) -> tuple[Pairs, float]:
    """Pairs of rows whose words are the same, and the cosine from which they are."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        if text:
            rows_of[text].append(row)
    firsts = np.array([rows[0] for rows in rows_of.values()], dtype=np.int64)
    pairs: Pairs = {(rows[0], row): 1.0 for rows in rows_of.values() for row in rows[1:]}
    near = nearest_in_cells(vectors.vectors[firsts], 4)
    threshold = max(config.least_words, unusually_near(near.score[:, 0]))
    for place, column in zip(*np.nonzero(near.score >= threshold), strict=True):
        a, b = int(firsts[place]), int(firsts[near.idx[place, column]])
        if numbered(texts[a]) != numbered(texts[b]):  # FS4702 and FS4608: two models of one watch
            continue
        pairs[min(a, b), max(a, b)] = float(near.score[place, column])
    return pairs, threshold


def numbered(text: str) -> set[str]:
    """The words of a text that hold a digit: model numbers, sizes, years. Other ones make another article."""
    return {word for word in re.findall(r"\w+", text.casefold()) if any(sign.isdigit() for sign in word)}


def unusually_near(nearest: NDArray[np.float32]) -> float:
    """A cosine that hardly any row has with its nearest unless the two are one.

    The distances 1 - cosine spread over orders of magnitude, so it is their logarithms that are compared: a row is
    unusually near where its logarithm is three robust standard deviations (1.4826 times the median deviation) below
    the median. 1 where there are fewer than 20 rows.
    """
    known = nearest[np.isfinite(nearest)].astype(np.float64)
    if len(known) < 20:
        return 1.0
    distance = np.log(np.maximum(1 - known, 1e-6))
    middle = float(np.median(distance))
    spread = 1.4826 * float(np.median(np.abs(distance - middle)))
    return float(1 - np.exp(middle - 3 * spread))
