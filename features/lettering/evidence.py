"""Does the lettering speak for a listing or against it? Learned on a shop's own pairs and constructed mispairings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from features.catalog import Catalog
from features.lettering.claims import Claims, Floats, Rows
from features.lettering.explained import Explained
from features.lettering.reader import Line
from features.lettering.words import words
from features.match.calibration import auroc, calibrate_by_fold, known, logistic

FOLDS = 4
FOREIGN = 4
"""Foreign listings that each picture is shown with."""
LEAST_PAIRS = 50
"""Different names of lettered listings; with fewer nothing is judged."""

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class LetteringEvidence:
    """What the lettering says of each listing.

    Args:
        log_odds: float64 [n_items]; log of how much likelier such lettering is beside the right words than beside those
            of another listing, by a rule that has not learned from this listing. NaN where nothing is lettered, where
            there are no words, or where the shop has too little lettering to learn from.
        spelled: object [n_items] of str; the lettering, lines parted by " / ", "" for none.
        rival: int64 [n_items]; the listing whose name claims the picture more than the listing's own does, -1 for
            none.
        report: "pairs", and of held-out pairs "auroc" against random foreign listings, "auroc_nearest" against that
            foreign listing whose name fits best, and "expected_calibration_error" against both (NaN where nothing was
            learned).
    """

    log_odds: Floats
    spelled: NDArray[np.object_]
    rival: Rows
    report: dict[str, float]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Mask, bool [n_items]; True where the lettering says something."""
        return ~np.isnan(self.log_odds)

    def told(self, catalog: Catalog, row: int) -> dict[str, Any]:
        """For reports: `lettering`, what is spelled in a listing's pictures, and `fits_better`, `item_id` and `title`
        of the listing whose name fits that better, None where none does.
        """
        rival = int(self.rival[row])
        better = None if rival < 0 else {"item_id": catalog.items[rival], "title": catalog.title[rival]}
        return {"lettering": self.spelled[row], "fits_better": better}


def judge_lettering(lines: Sequence[tuple[Line, ...]], catalog: Catalog, *, seed: int) -> LetteringEvidence:
    """Judge every lettered listing by a rule learned from the others.

    A few numbers tell how well a picture's lettering goes with a listing: how much of its name is read, how strongly
    the name claims the picture, by how much another listing's name claims it more, how much lettering the listing's
    words explain, and how much they do not. Logistic regression weighs them on own pairs against pictures shown with
    foreign listings, and held-out margins are calibrated as the match model's are.

    Args:
        lines: of each item's pictures, a row an item.
        catalog: the items.
        seed: of the folds and the foreign listings.
    """
    told = np.array([" / ".join(line.text for line in of_item) for of_item in lines], dtype=object)
    n = len(catalog)
    lettered = np.array([bool(words(text)) for text in told], dtype=bool)
    described = np.array([bool(words(text)) for text in catalog.texts()], dtype=bool)
    pictures = np.flatnonzero(lettered & described)
    rival = np.full(n, -1, dtype=np.int64)
    log_odds = np.full(n, np.nan)
    nothing = dict.fromkeys(("auroc", "auroc_nearest", "expected_calibration_error"), math.nan)
    nothing["pairs"] = float(len(pictures))
    reading = _Reading([lines[row] for row in pictures.tolist()], catalog)
    distinct = reading.claims.distinct(pictures)
    if distinct < LEAST_PAIRS:
        log.info(
            "lettering not judged: too few lettered listings with a name of their own",
            lettered=len(pictures),
            distinct=distinct,
            need=LEAST_PAIRS,
        )
        return LetteringEvidence(log_odds, told, rival, nothing)
    own, strongest, beaten = reading.numbers(pictures)
    rival[pictures] = np.where(beaten, strongest, -1)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(pictures)) % FOLDS
    foreign = np.stack([_shuffled_within(pictures, fold, rng) for _ in range(FOREIGN)], axis=1)
    foreign[:, 0] = np.where(strongest >= 0, strongest, foreign[:, 0])  # as pictures found by a search for a name are
    shown = np.stack([reading.numbers(others)[0] for others in foreign.T], axis=1)
    shown[reading.claims.twins(foreign, pictures[:, None])] = np.nan  # the same name again is no mispairing
    margins, foreign_margins = _cross_fit(own, shown, fold)
    calibrator, report = calibrate_by_fold(margins, foreign_margins, fold)
    log_odds[pictures] = calibrator.odds(margins)
    report |= {
        "pairs": float(len(pictures)),
        "auroc": auroc(margins, known(foreign_margins[:, 1:])),
        "auroc_nearest": auroc(margins, known(foreign_margins[:, 0])),
    }
    log.info("lettering judged", **{name: round(value, 4) for name, value in report.items()})
    return LetteringEvidence(log_odds, told, rival, report)


def _cross_fit(own: Floats, foreign: Floats, fold: Rows) -> tuple[Floats, Floats]:
    """Margins of the pairs, float64 [n], and with foreign listings, float64 [n, FOREIGN], each by a logistic regression
    learned on the other folds, in which both sides weigh the same.
    """
    margins, foreign_margins = np.zeros(len(own)), np.zeros(foreign.shape[:2])
    for number in range(FOLDS):
        here = fold == number
        right, wrong = own[~here], foreign[~here].reshape(-1, own.shape[1])
        wrong = wrong[~np.isnan(wrong).any(axis=1)]
        label = np.repeat([1.0, 0.0], [len(right), len(wrong)])
        weight = np.repeat([0.5 / len(right), 0.5 / max(len(wrong), 1)], [len(right), len(wrong)])
        slopes, offset = logistic(np.concatenate([right, wrong]), label, weight)
        margins[here], foreign_margins[here] = own[here] @ slopes + offset, foreign[here] @ slopes + offset
    return margins, foreign_margins


class _Reading:
    """The numbers that tell how well a picture's lettering goes with a listing."""

    def __init__(self, spelled: list[tuple[Line, ...]], catalog: Catalog) -> None:
        self.claims = Claims(spelled, catalog.title.tolist())
        self._explained = Explained(spelled, catalog)

    def numbers(self, listings: Rows) -> tuple[Floats, Rows, NDArray[np.bool_]]:
        """For each picture beside a listing the numbers, float64 [n, 10]; whose name claims the picture most among all
        others, int64 [n], and whether it does so more than the given one, bool [n].
        """
        pictures = np.arange(len(listings))
        claim, share = self.claims.own(pictures, listings)
        strongest, whose = self.claims.others(pictures, listings)
        excess = np.maximum(strongest - claim, 0.0)
        in_nats = (claim, excess, *self._explained(pictures, listings))
        columns = [share, excess / (strongest + 1.0), *map(np.log1p, in_nats)]
        return np.stack(columns, axis=1), whose, strongest > claim


def _shuffled_within(rows: Rows, fold: Rows, rng: np.random.Generator) -> Rows:
    """The rows, exchanged at random within each fold; one may meet itself."""
    other = rows.copy()
    for number in np.unique(fold):
        here = np.flatnonzero(fold == number)
        other[here] = rows[rng.permutation(here)]
    return other
