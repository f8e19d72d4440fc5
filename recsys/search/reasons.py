"""Why an item was found: short statements, each true by the channel that found it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.search.bm25 import LexicalIndex
from recsys.search.channels import (
    LEXICAL,
    PICTURE_TO_PICTURES,
    PICTURE_TO_WORDS,
    WORDS_TO_PICTURES,
    WORDS_TO_WORDS,
)
from recsys.search.query import SearchQuery
from recsys.search.terms import Term, asked_terms, shown_spans

MAX_REASONS = 3
NEAR_DEPTH = 50
"""An item is called near when a channel has it among its first so many (and at most a tenth of the catalog)."""
PERSONAL = "personal"


class Reasons:
    """Finds reasons in a bundle.

    Args:
        bundle: the bundle.
        lexical: its terms.
    """

    def __init__(self, bundle: Bundle, lexical: LexicalIndex) -> None:
        self._lexical = lexical
        self._depth = max(1, min(NEAR_DEPTH, len(bundle) // 10))

    def of(
        self,
        query: SearchQuery,
        rows: NDArray[np.int64],
        ranks: Mapping[str, NDArray[np.float64]],
        *,
        tastes: NDArray[np.bool_] | None,
    ) -> list[tuple[str, ...]]:
        """Why each item of a page was found, at most `MAX_REASONS`, the most telling first.

        Args:
            query: the query.
            rows: int64 [n]; the page.
            ranks: channel → place in its list, float64 [n].
            tastes: bool [n]; whether each is much to the shopper's taste; None for a query without a shopper.
        """
        near = {name: places <= self._depth for name, places in ranks.items()}
        said = _said(query)
        matched = self._matched(query, rows) if LEXICAL in ranks else [""] * len(rows)
        reasons = []
        for place in range(len(rows)):
            found = [said[name] for name in said if name in near and near[name][place]]
            words = [f"words match: {matched[place]}"] if matched[place] else []
            taste = ["to your taste"] if tastes is not None and tastes[place] else []
            room = MAX_REASONS - len(words) - len(taste)
            reasons.append((*words, *dict.fromkeys(found[:room]), *taste))
        return reasons

    def _matched(self, query: SearchQuery, rows: NDArray[np.int64]) -> list[str]:
        """The typed words that each item holds."""
        text = " ".join([query.words, *query.like.words])
        asked = asked_terms(text)
        holds = self._lexical.holds(asked, rows)
        return [
            " ".join(dict.fromkeys(shown_spans(text, _longest([asked[at] for at in np.flatnonzero(held)]))))
            for held in holds.T
        ]


def _longest(found: list[Term]) -> list[Term]:
    """Without single characters that are part of a matched pair."""
    return [
        term
        for term in found
        if not any(
            other is not term and other.start <= term.start and term.end <= other.end and len(other.text) > 1
            for other in found
            if len(term.text) == 1
        )
    ]


def _said(query: SearchQuery) -> dict[str, str]:
    """What it means to be near by each channel, the most telling first."""
    shown, typed = query.picture is not None, bool(query.words.strip())
    return {
        PICTURE_TO_PICTURES: "looks like your picture" if shown else "looks like your examples",
        WORDS_TO_PICTURES: "the picture looks like what you typed" if typed else "the picture looks like your examples",
        WORDS_TO_WORDS: "its words mean what you typed" if typed else "reads like your examples",
        PICTURE_TO_WORDS: "its words fit your picture" if shown else "its words fit your examples",
    }
