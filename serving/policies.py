"""The rules and experiments a worker goes by, and how it gets others without missing a request.

A worker looks at Redis about once a second. New rules are compiled in a thread, for every bundle the worker answers
from, and then one reference is replaced. What was read last is also kept in a file, so that a worker that starts while
Redis is away does not forget what must not be shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from math import isfinite
from pathlib import Path
from weakref import WeakKeyDictionary

import orjson
import structlog

from features.errors import InputError
from features.vocabulary import Vocabulary
from recsys.amended.bundle import AmendedBundle
from recsys.bundle import Bundle
from recsys.documents import Window
from recsys.experiments import Experiments
from recsys.rules.amended import facts_of, trained_facts
from recsys.rules.book import RuleBook
from recsys.rules.facts import Facts
from recsys.rules.model import RuleSet
from recsys.run_folder import write_atomically
from serving.documents import Documents
from serving.settings import Settings
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

NO_RULES = RuleBook(RuleSet(), Facts(Vocabulary(()), []))


@dataclass(frozen=True)
class Policies:
    """What holds now.

    Args:
        rules: rule sets by version: the active one, and those that arms of experiments name.
        active: version of the rules for everybody, 0 for those of the settings' file, or none.
        experiments: all of them.
        experiments_version: 0 for those of the settings' file, or none.
        stopped: experiments that a guard-rail has stopped.
    """

    rules: Mapping[int, RuleSet] = field(default_factory=lambda: {0: RuleSet()})
    active: int = 0
    experiments: Experiments = Experiments()  # noqa: RUF009 - frozen
    experiments_version: int = 0
    stopped: frozenset[str] = frozenset()

    def steady_until_s(self, now_s: float) -> float:
        """When the next rule or experiment begins or ends, UTC seconds; inf where none does."""
        return min((at for at in self._turns if at > now_s), default=float("inf"))

    @cached_property
    def _turns(self) -> frozenset[float]:
        rules = (rule.when for one in self.rules.values() for rule in one.rules)
        windows: Iterator[Window] = chain(rules, self.experiments.experiments)
        return frozenset(at for window in windows for at in (window.begins_s, window.ends_s) if isfinite(at))

    def of(self, version: int | None) -> tuple[int, RuleSet]:
        """A version of the rules, or the active one where that is not there; and which it is."""
        found = self.active if version is None or version not in self.rules else version
        return found, self.rules[found]

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            {
                "rules": {str(version): orjson.Fragment(rules.dump()) for version, rules in self.rules.items()},
                "active": self.active,
                "experiments": orjson.Fragment(self.experiments.dump()),
                "experiments_version": self.experiments_version,
                "stopped": sorted(self.stopped),
            }
        )

    @classmethod
    def read(cls, raw: bytes) -> Policies:
        """From `dump`.

        Raises:
            InputError: it is not.
        """
        try:
            known = orjson.loads(raw)
            rules = {int(version): RuleSet.read(one, "rules") for version, one in known["rules"].items()}
            experiments = Experiments.read(known["experiments"], "experiments")
            stopped = frozenset(known["stopped"])
            return cls(rules, known["active"], experiments, known["experiments_version"], stopped)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"not the policies of a worker: {error}") from None


class PolicyKeeper:
    """One worker's rules and experiments.

    Args:
        store: Redis.
        settings: files to begin with, and where the last known are kept.
        telemetry: counts changes and failures.
    """

    def __init__(self, store: Store, settings: Settings, telemetry: Telemetry) -> None:
        self.rules = Documents(store, store.keys.rules)
        self.experiments = Documents(store, store.keys.experiments)
        self.policies = Policies()
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._trained: dict[str, Facts] = {}
        self._facts: WeakKeyDictionary[Bundle, Facts] = WeakKeyDictionary()
        self._books: WeakKeyDictionary[Bundle, dict[int, RuleBook]] = WeakKeyDictionary()
        self._in_use: set[str] = set()
        self._lock = asyncio.Lock()
        self._refused: tuple[int, int] | None = None

    async def start(self) -> None:
        """Take the rules of Redis, or those last known, or those of the settings' files.

        Raises:
            InputError: a file of the settings cannot be used.
        """
        own = _of_files(self._settings)
        self.policies = own
        if self._store.configured and not await self.look([], probing=True) and self._kept.exists():
            try:
                self.policies = Policies.read(await asyncio.to_thread(self._kept.read_bytes))
                log.warning("redis is away, going by the last known rules", rules=self.policies.active)
            except InputError as error:
                self._telemetry.policy_failures.inc()
                log.error("the last known rules cannot be read", path=str(self._kept), error=str(error))

    async def look(self, bundles: Iterable[Bundle], *, probing: bool = False) -> bool:
        """Take over what has changed in Redis.

        Args:
            bundles: those the worker answers from; new rules are compiled for them before they hold.
            probing: ask even while Redis is down, which otherwise the watcher alone does.

        Returns:
            Whether Redis answered.
        """
        if not (self._store.up or probing):
            return False
        async with self._lock:  # what is read is taken before anybody reads again
            before = self.policies
            try:
                active, of_experiments = await self.rules.active(), await self.experiments.active()
                stopped = frozenset(await self._store.names(self._store.keys.stopped))
                same = (active, of_experiments) == (before.active, before.experiments_version)
                if same and stopped == before.stopped:
                    return True
                if (active, of_experiments) == self._refused:
                    return True
                policies = await self._read(active, of_experiments, stopped)
            except StoreDownError:
                return False
            except InputError as error:  # only who writes to Redis by hand gets here: what is put is checked
                self._refused = (active, of_experiments)
                self._telemetry.policy_failures.inc()
                log.error("new rules or experiments cannot be used, staying", error=str(error))
                return True
            await asyncio.to_thread(self._take, policies, list(bundles))
            self._telemetry.policy_changes.inc()
            log.info("rules taken", rules=active, experiments=of_experiments, stopped=sorted(stopped))
            return True

    @property
    def models(self) -> frozenset[str]:
        """Versions that arms of experiments answer from."""
        arms = (arm for one in self.policies.experiments.experiments for arm in one.arms)
        return frozenset(arm.overrides.model for arm in arms if arm.overrides.model is not None)

    def prepare(self, bundle: Bundle) -> None:
        """Compile everything for a bundle that is about to be answered from."""
        for version, rules in self.policies.rules.items():
            self._compile(bundle, version, rules)

    def forget(self, bundles: Iterable[Bundle]) -> None:
        """Drop the columns of models that were among these before and are no longer."""
        in_use = {bundle.version for bundle in bundles}
        for version in self._in_use - in_use:  # a model that was never in use may be about to be
            self._trained.pop(version, None)
        self._in_use = in_use

    def book(self, bundle: Bundle, version: int | None = None) -> tuple[int, RuleBook]:
        """The rules for a bundle, and their version: the active one, unless another is named and there."""
        found, rules = self.policies.of(version)
        return found, self._compile(bundle, found, rules)

    def facts(self, bundle: Bundle, *, descriptions: bool) -> Facts:
        """The columns of a bundle, with descriptions or not; the first time takes about a second for 100,000 items."""
        found = self._facts.get(bundle)
        if found is not None and (found.has_descriptions or not descriptions):
            return found
        trained = self._trained.get(bundle.version)
        if trained is None or (descriptions and not trained.has_descriptions):
            trained = self._trained[bundle.version] = trained_facts(bundle, descriptions=descriptions)
        found = self._facts[bundle] = facts_of(bundle, trained)
        return found

    def _compile(self, bundle: Bundle, version: int, rules: RuleSet) -> RuleBook:
        if not rules.rules:
            return NO_RULES if rules == NO_RULES.rules else RuleBook(rules, NO_RULES.facts)
        books = self._books.setdefault(bundle, {})
        known = books.get(version)
        if known is not None and known.rules is rules:
            return known
        book = RuleBook(rules, self.facts(bundle, descriptions=rules.needs_descriptions))
        if not isinstance(bundle, AmendedBundle):  # of an amended one it was said before
            for said in (*book.review().errors, *book.review().warnings):
                log.warning("a rule does not fit the catalog", rules=version, model=bundle.version, said=said)
        book.warm()
        books[version] = book
        return book

    def _take(self, policies: Policies, bundles: list[Bundle]) -> None:
        for bundle in bundles:
            for version, rules in policies.rules.items():
                self._compile(bundle, version, rules)
        self.policies = policies
        for books in list(self._books.values()):
            for version in set(books) - set(policies.rules):
                books.pop(version, None)
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._kept, policies.dump())

    async def _read(self, active: int, of_experiments: int, stopped: frozenset[str]) -> Policies:
        own, before = _of_files(self._settings), self.policies
        experiments = own.experiments
        if of_experiments and of_experiments == before.experiments_version:
            experiments = before.experiments
        elif of_experiments:
            raw = await self.experiments.get(of_experiments)
            experiments = Experiments.read(raw or b"{}", f"experiments {of_experiments}")
        arms = [arm for one in experiments.experiments for arm in one.arms]
        named = {arm.overrides.rules for arm in arms if arm.overrides.rules is not None}
        rules: dict[int, RuleSet] = {} if active else {0: own.rules[0]}
        for version in sorted({active, *named} - {0}):
            if version in before.rules:
                rules[version] = before.rules[version]
                continue
            raw = await self.rules.get(version)
            if raw is None:
                self._telemetry.policy_failures.inc()
                log.error("an experiment names rules that are not there", rules=version)
            else:
                rules[version] = RuleSet.read(raw, f"rules {version}")
        if active not in rules:
            raise InputError(f"version {active} of the rules is not in Redis")
        return Policies(rules, active, experiments, of_experiments, stopped)

    @property
    def _kept(self) -> Path:
        return self._settings.home / "policies.json"


def _of_files(settings: Settings) -> Policies:
    rules = RuleSet() if settings.rules is None else RuleSet.load(settings.rules)
    experiments = Experiments() if settings.experiments is None else Experiments.load(settings.experiments)
    return Policies({0: rules}, experiments=experiments)
