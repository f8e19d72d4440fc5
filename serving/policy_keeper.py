"""The rules and experiments a worker goes by, and how it gets others without missing a request.

A worker looks at Redis about once a second. New rules are compiled in a thread, for every bundle the worker answers
from, and then one reference is replaced. What was read last is also kept in a file, so that a worker that starts while
Redis is away does not forget what must not be shown.

Nor does it forget where Redis does. A Redis that has lost the latest change, or all there was, is told by how its
documents stand (`serving/documents.py`): the worker stays with what it knows and puts that back. Nobody's taking rules
away looks like that, as even an empty set is a version of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, cast

import redis.asyncio
import structlog

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.experiments import Experiments
from recsys.rules.book import RuleBook
from recsys.rules.model import RuleSet
from recsys.run_folder import write_atomically
from serving.documents import Documents
from serving.known import Copy, Known, Standing
from serving.policies import Policies
from serving.rulebooks import RuleBooks
from serving.settings import Settings, masked
from serving.store import Store, StoreDownError, StoreRefusedError
from serving.telemetry import Telemetry

log = structlog.get_logger()

Origin = Literal["redis", "remembered", "files"]
"""Where rules and experiments are from: as Redis has them; as it had them, which is away or has lost them; or the files
of the settings, as nothing was ever put."""


class PolicyKeeper:
    """One worker's rules and experiments.

    Args:
        store: Redis.
        settings: files to begin with, where the last known are kept, and whether they may be put back.
        telemetry: counts changes, failures and what was put back.
    """

    def __init__(self, store: Store, settings: Settings, telemetry: Telemetry) -> None:
        self.rules = Documents(store, store.keys.rules)
        self.experiments = Documents(store, store.keys.experiments)
        self.policies = Policies()
        self.books = RuleBooks()
        self._store = store
        self._telemetry = telemetry
        self._settings = settings
        self._url = "" if settings.redis_url is None else masked(settings.redis_url.get_secret_value())
        self._file = settings.home / "policies.json"
        self._own = self.policies
        self._known = Known()
        self._in_step, self._asked = True, False
        telemetry.policies_in_step.set(1)
        self._refused: tuple[Standing, Standing] | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Take the rules of Redis, or those last known, or those of the settings' files.

        Raises:
            InputError: a file of the settings cannot be used.
        """
        self._own = self.policies = Policies.of_files(self._settings)
        if not self._store.configured:
            return
        try:
            raw = await asyncio.to_thread(lambda: self._file.read_bytes() if self._file.exists() else None)
            known = None if raw is None else Known.read(raw, self._url)
            if known is not None:
                self.policies, self._known = self._parsed(known), known
            elif raw is not None:
                log.warning("rules known of another redis are left aside", path=str(self._file))
        except (InputError, OSError) as error:
            self._telemetry.policy_failures.inc()
            log.error("the last known rules cannot be read", path=str(self._file), error=str(error))
        if not await self.look([], probing=True) and self._known != Known():
            log.warning("redis is away, going by the last known rules", rules=self.policies.active)

    @property
    def origin(self) -> Origin:
        """Where the rules and experiments are from."""
        if not (self._known.rules.standing.active or self._known.experiments.standing.active):
            return "files"
        return "redis" if self._asked and self._in_step and self._store.up else "remembered"

    async def look(self, bundles: Iterable[Bundle], *, probing: bool = False) -> bool:
        """Take over what has changed in Redis, and give it back what it has lost.

        Args:
            bundles: those the worker answers from; new rules are compiled for them before they hold.
            probing: ask even while Redis is down, which otherwise the watcher alone does.

        Returns:
            Whether Redis answered.
        """
        async with self._lock:  # what is read is taken before anybody reads again
            asked = self._store.up or probing
            if asked:
                try:
                    await self._look(list(bundles))
                except StoreDownError:
                    asked = False
            self._asked = asked  # only now: until Redis has answered, `origin` does not say that it has
            return asked

    async def _look(self, bundles: list[Bundle]) -> None:
        known = self._known
        rules, experiments, stopped = await self._found()
        lost = (
            rules.forgets(known.rules.standing)
            or experiments.forgets(known.experiments.standing)
            or not known.stopped.keys() <= stopped.keys()
        )
        if lost or rules.last < known.rules.standing.last or experiments.last < known.experiments.standing.last:
            with suppress(StoreRefusedError):  # it is full, or only a replica: tried again at the next look
                await self._put_back(known, stopped)
            rules, experiments, stopped = await self._found()
        self._tell(in_step=not (rules.forgets(known.rules.standing) or experiments.forgets(known.experiments.standing)))
        stopped = {**known.stopped, **stopped}
        same = rules == known.rules.standing and experiments == known.experiments.standing
        new = not same and self._refused != (rules, experiments)
        if not new and stopped.keys() == known.stopped.keys():
            return
        try:
            found = await self._read(known, stopped) if new else replace(known, stopped=stopped)
            if found == known:  # all that differs is what Redis has lost
                return
            policies = self._parsed(found)
        except InputError as error:  # only who writes to Redis by hand gets here: what is put is checked
            self._refused = (rules, experiments)
            self._telemetry.policy_failures.inc()
            log.error("new rules or experiments cannot be used, staying", error=str(error))
            return
        await asyncio.to_thread(self._take, policies, found, bundles)
        self._telemetry.policy_changes.inc()
        taken = {"rules": policies.active, "experiments": policies.experiments_version}
        log.info("rules taken", **taken, stopped=sorted(policies.stopped))

    def prepare(self, bundle: Bundle) -> None:
        """Compile everything for a bundle that is about to be answered from."""
        for version, rules in self.policies.rules.items():
            self.books.of(bundle, version, rules)

    def book(self, bundle: Bundle, version: int | None = None) -> tuple[int, RuleBook]:
        """The rules for a bundle, and their version: the active one, unless another is named and there."""
        found, rules = self.policies.of(version)
        return found, self.books.of(bundle, found, rules)

    async def _found(self) -> tuple[Standing, Standing, dict[str, bytes]]:
        """How Redis has it: rules, experiments, and those that are stopped."""
        rules, experiments = await self.rules.standing(), await self.experiments.standing()
        key = self._store.keys.stopped
        stopped = await self._store.asked(lambda client: cast("Any", client.hgetall(key)), probing=True)
        return rules, experiments, {name.decode(): said for name, said in stopped.items()}

    async def _put_back(self, known: Known, stopped: Mapping[str, bytes]) -> None:
        """Give back what Redis has lost; should another worker be faster, nothing happens."""
        if not self._settings.restore:
            return
        done = []
        for what, documents, copy in (
            ("rules", self.rules, known.rules),
            ("experiments", self.experiments, known.experiments),
        ):
            if copy.standing.active and await documents.put_back(copy):
                done.append(what)
        missing = {name: said for name, said in known.stopped.items() if name not in stopped}

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for name, said in missing.items():
                pipeline.hsetnx(self._store.keys.stopped, name, said.decode())
            return await pipeline.execute()

        if missing and any(await self._store.asked(ask, probing=True)):
            done.append("stopped")
        for what in done:
            self._telemetry.policies_restored.labels(what).inc()
        if done:
            versions = {"rules": known.rules.standing.active, "experiments": known.experiments.standing.active}
            log.warning("redis had lost what was put into it, it is put back", what=done, **versions)

    def _tell(self, *, in_step: bool) -> None:
        if self._in_step and not in_step:
            log.error("redis has lost rules or experiments, going by the last known", rules=self.policies.active)
        self._in_step = in_step
        self._telemetry.policies_in_step.set(int(in_step))

    async def _read(self, known: Known, stopped: Mapping[str, bytes]) -> Known:
        """What Redis has, and what was known before where it has lost that."""
        experiments = await self.experiments.copy()
        if experiments.standing.forgets(known.experiments.standing):
            experiments = known.experiments
        named = _named_rules(self._experiments(experiments))
        rules = await self.rules.copy(sorted(named))
        if rules.standing.forgets(known.rules.standing):
            rules = known.rules
        there = rules.editions
        kept = {n: one for n, one in known.rules.editions.items() if n in named and n not in there}
        return Known(Copy(rules.standing, {**there, **kept}), experiments, stopped)

    def _parsed(self, known: Known) -> Policies:
        """What is known as rules and experiments; a set whose text is the one held already stays the one it is."""
        before, held = self.policies.rules, self._known.rules.editions
        active = known.rules.standing.active
        rules: dict[int, RuleSet] = {} if active else {0: self._own.rules[0]}
        for version, edition in known.rules.editions.items():
            same = version in before and version in held and held[version].text == edition.text
            rules[version] = before[version] if same else RuleSet.read(edition.text, f"rules {version}")
        if active not in rules:
            raise InputError(f"version {active} of the rules is not in Redis")
        experiments = self._experiments(known.experiments)
        for version in _named_rules(experiments) - rules.keys():
            self._telemetry.policy_failures.inc()
            log.error("an experiment names rules that are not there", rules=version)
        return Policies(rules, active, experiments, known.experiments.standing.active, frozenset(known.stopped))

    def _experiments(self, copy: Copy) -> Experiments:
        version = copy.standing.active
        if not version:
            return self._own.experiments
        if version not in copy.editions:
            raise InputError(f"version {version} of the experiments is not in Redis")
        return Experiments.read(copy.editions[version].text, f"experiments {version}")

    def _take(self, policies: Policies, known: Known, bundles: list[Bundle]) -> None:
        for bundle in bundles:
            for version, rules in policies.rules.items():
                self.books.of(bundle, version, rules)
        self.policies, self._known = policies, known
        self.books.keep(policies.rules)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, known.dump(self._url))
        except OSError as error:  # they hold all the same; a worker that starts while Redis is away will not know them
            self._telemetry.policy_failures.inc()
            log.error("rules cannot be kept in a file", path=str(self._file), error=str(error))


def _named_rules(experiments: Experiments) -> set[int]:
    """Versions of the rules that arms go by."""
    arms = (arm for one in experiments.experiments for arm in one.arms)
    return {arm.overrides.rules for arm in arms if arm.overrides.rules is not None}
