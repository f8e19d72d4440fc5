"""A request's own filter: an expression over the catalog, as rules use it, compiled once a catalog."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.rules.compiled import Compiled
from recsys.rules.nodes import reads_texts
from recsys.rules.occasion import Occasion
from recsys.rules.review import review
from recsys.rules.syntax import parse
from recsys.rules.tokens import ExpressionError
from serving.policy_keeper import PolicyKeeper
from serving.problems import ProblemError

KEPT = 256
"""Compiled filters kept a catalog; the one used longest ago goes first."""


class Filters:
    """Filters of requests.

    Args:
        keeper: knows the columns of catalogs.
    """

    def __init__(self, keeper: PolicyKeeper) -> None:
        self._keeper = keeper
        self._compiled: WeakKeyDictionary[Bundle, OrderedDict[str, Compiled]] = WeakKeyDictionary()

    async def mask(self, bundle: Bundle, text: str | None, occasion: Occasion) -> NDArray[np.bool_] | None:
        """The items that pass a filter, bool [n_items], not to be written to; None for no filter.

        Args:
            bundle: the catalog.
            text: the expression.
            occasion: who asks, where and when.

        Raises:
            ProblemError: 422, it breaks the grammar, or names what the catalog does not have.
        """
        if text is None:
            return None
        kept = self._compiled.setdefault(bundle, OrderedDict())
        if text not in kept:  # compiling may be the first to need the columns, which takes a while
            kept[text] = await asyncio.to_thread(self._compile, bundle, text)
            while len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end(text)
        return kept[text].mask(occasion)

    def _compile(self, bundle: Bundle, text: str) -> Compiled:
        try:
            facts = self._keeper.books.facts(bundle, texts=reads_texts(parse(text)))
            compiled = Compiled(text, facts)
        except ExpressionError as error:
            raise _refused(str(error), text) from error
        errors = review(compiled.node, facts).errors
        if errors:
            raise _refused(errors[0], text)
        return compiled


def _refused(why: str, text: str) -> ProblemError:
    errors = [{"place": "filter", "rule": why, "value": text[:80]}]
    return ProblemError(422, "invalid-request", f"filter: {why}", errors=errors)
