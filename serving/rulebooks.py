"""Rule sets compiled for the bundles a worker answers from, each once."""

from __future__ import annotations

from collections.abc import Container, Iterable
from weakref import WeakKeyDictionary

import structlog

from features.vocabulary import Vocabulary
from recsys.amended.bundle import AmendedBundle
from recsys.bundle import Bundle
from recsys.rules.amended import facts_of, trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.facts import Facts
from recsys.rules.model import RuleSet

log = structlog.get_logger()

NO_RULES = RuleBook(RuleSet(), Facts(Vocabulary(()), []))


class RuleBooks:
    """The compiled rules of one worker, and the columns of the bundles they are compiled over."""

    def __init__(self) -> None:
        self._trained: dict[str, Facts] = {}
        self._facts: WeakKeyDictionary[Bundle, Facts] = WeakKeyDictionary()
        self._books: WeakKeyDictionary[Bundle, dict[int, RuleBook]] = WeakKeyDictionary()
        self._in_use: set[str] = set()

    def of(self, bundle: Bundle, version: int, rules: RuleSet) -> RuleBook:
        """A version of the rules for a bundle; the first time takes a while."""
        if not rules.rules:
            return NO_RULES if rules == NO_RULES.rules else RuleBook(rules, NO_RULES.facts)
        books = self._books.setdefault(bundle, {})
        known = books.get(version)
        if known is not None and known.rules is rules:
            return known
        book = RuleBook(rules, self.facts(bundle, texts=rules.needs_texts))
        if not isinstance(bundle, AmendedBundle):  # of an amended one it was said before
            for said in (*book.review().errors, *book.review().warnings):
                log.warning("a rule does not fit the catalog", rules=version, model=bundle.version, said=said)
        book.warm()
        books[version] = book
        return book

    def facts(self, bundle: Bundle, *, texts: bool) -> Facts:
        """The columns of a bundle, with texts or not; with them the first time takes a second for 100,000 items."""
        found = self._facts.get(bundle)
        if found is not None and (found.has_texts or not texts):
            return found
        trained = self._trained.get(bundle.version)
        if trained is None or (texts and not trained.has_texts):
            trained = trained_facts(bundle, texts=texts)
        found = self._facts[bundle] = facts_of(bundle, trained)
        self._trained[bundle.version] = trained  # now that there is a bundle to keep them for
        return found

    def keep(self, versions: Container[int]) -> None:
        """Drop the books of other versions of the rules than these."""
        for books in list(self._books.values()):
            for version in [one for one in books if one not in versions]:
                books.pop(version, None)

    def forget(self, bundles: Iterable[Bundle]) -> list[Facts]:
        """Drop the columns of models that were among these before and are no longer, and of those that were opened and
        given up before they came into use; what was dropped.
        """
        in_use = {bundle.version for bundle in bundles}
        open_ones = {bundle.version for one in self._facts.keyrefs() if (bundle := one()) is not None}
        given_up = set(self._trained) - open_ones - in_use  # one that is open may be about to come into use
        left = (self._in_use - in_use) | given_up
        self._in_use = in_use
        return [self._trained.pop(version) for version in left if version in self._trained]
