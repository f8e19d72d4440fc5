"""Where rules and experiments are read, tried, changed and taken back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import orjson

from features.errors import InputError
from recsys.experiments import HOLDOUT, Experiments
from recsys.pipeline.request import Request
from recsys.recommendation import UserState
from recsys.rules.book import RuleBook
from recsys.rules.dry_run import DryRun, dry_run
from recsys.rules.model import RuleSet
from recsys.rules.occasion import Occasion
from serving.answers import user_state
from serving.counters import Arm
from serving.documents import About, Documents, NotCurrentError, NoVersionError
from serving.engine import Engine, UnknownItemError
from serving.policing import Policing
from serving.problems import ProblemError
from serving.steering import NOBODY, bound, segments


@dataclass(frozen=True)
class Trial:
    """A request that rules are tried on.

    Args:
        item_id: the item whose similar items are asked for; None for a feed.
        user_id: the one who asks; None for a visitor without an id.
        k: slots.
        scenario: of the request.
        segments: groups the one who asks is taken to belong to; None: those they do belong to.
        now_s: the moment, UTC seconds; None: now.
    """

    item_id: str | None
    user_id: str | None
    k: int
    scenario: str
    segments: frozenset[str] | None
    now_s: float | None


class PolicyDesk:
    """One worker's desk.

    Args:
        engine: knows the open bundle and the users.
        policing: the rules and experiments, what the arms showed, and what the guard-rails say.
    """

    def __init__(self, engine: Engine, policing: Policing) -> None:
        self._engine = engine
        self._keeper, self._guard, self._counters = policing.keeper, policing.guard, policing.counters

    async def rules(self, version: int | None) -> dict[str, Any]:
        """A version of the rules, the active one where none is named, with the history.

        Raises:
            ProblemError: 404, there is no such version.
            StoreDownError: Redis is away, and the version is none of those this worker goes by.
        """
        return await self._told(self._keeper.rules, "rules", version, self._keeper.policies.active)

    async def put_rules(self, raw: bytes, *, note: str, expected: int | None) -> dict[str, Any]:
        """Check a rule set against grammar and catalog, store it as the next version, and go by it.

        Raises:
            ProblemError: 422, it breaks a rule; 409, another version is active than `expected`.
            StoreDownError: Redis is away.
        """
        rules = _read(RuleSet, raw, "rules")
        review = (await self._book(rules)).review()
        if review.errors:
            raise _invalid("rules", review.errors)
        version = await self._put(self._keeper.rules, rules.dump(), note=note, expected=expected)
        return {"version": version, "warnings": review.warnings}

    async def rollback(self, what: str, to: int | None) -> dict[str, Any]:
        """Make the "rules" or "experiments" that were active before active again, or a version by its number.

        Raises:
            ProblemError: 409, there is no such version.
            StoreDownError: Redis is away.
        """
        documents = self._keeper.rules if what == "rules" else self._keeper.experiments
        await self._guard.look(probing=True)  # what Redis has lost comes back before it is changed
        try:
            version = await documents.rollback(to)
        except NoVersionError as error:
            raise ProblemError(409, "no-such-version", str(error)) from None
        await self._guard.look(probing=True)
        return {"version": version}

    async def try_rules(self, raw: bytes | None, version: int | None, trial: Trial) -> dict[str, Any]:
        """What rules would do to a request: those given, or a version of those stored. Nothing changes.

        Raises:
            ProblemError: 422, the rules break a rule; 404, there is no such version.
            UnknownItemError: the catalog has no such item.
            StoreDownError: Redis is away, and the version is none of those this worker goes by.
        """
        if raw is None:
            _, raw = await self._text(self._keeper.rules, "rules", version, self._keeper.policies.active)
        rules = _read(RuleSet, raw, "rules")
        book = await self._book(rules)
        review = book.review()
        if review.errors:
            raise _invalid("rules", review.errors)
        run = await self._run(book, trial)
        return {**asdict(run), "warnings": review.warnings}

    async def experiments(self, version: int | None) -> dict[str, Any]:
        """A version of the experiments, the active one where none is named, with the history and what is stopped.

        Raises:
            ProblemError: 404, there is no such version.
            StoreDownError: Redis is away, and the version is not the one this worker goes by.
        """
        policies = self._keeper.policies
        told = await self._told(self._keeper.experiments, "experiments", version, policies.experiments_version)
        return {**told, "stopped": sorted(policies.stopped)}

    async def put_experiments(self, raw: bytes, *, note: str, expected: int | None) -> dict[str, Any]:
        """Check experiments, store them as the next version, and go by them.

        Raises:
            ProblemError: 422, they break a rule, or name rules or a model that are not there; 409, another version is
                active than `expected`.
            StoreDownError: Redis is away.
        """
        experiments = _read(Experiments, raw, "experiments")
        missing = []
        for experiment in experiments.experiments:
            for arm in experiment.arms:
                place = f"experiment {experiment.name!r}, arm {arm.name!r}"
                rules, model = arm.overrides.rules, arm.overrides.model
                if rules is not None and await self._keeper.rules.get(rules) is None:
                    missing.append(f"{place}: there is no version {rules} of the rules")
                if model is not None and not await self._engine.store.meta(model):
                    missing.append(f"{place}: no model {model!r} is published")
        if missing:
            raise _invalid("experiments", missing)
        version = await self._put(self._keeper.experiments, experiments.dump(), note=note, expected=expected)
        return {"version": version, "warnings": []}

    async def results(self) -> dict[str, Any]:
        """What each arm showed and what came of it, and what the guard-rails say.

        Raises:
            StoreDownError: Redis is away.
        """
        policies = self._keeper.policies
        told = []
        for experiment in policies.experiments.experiments:
            arms: list[Arm] = [(experiment.name, arm.name) for arm in experiment.arms]
            counted, attributed = await self._counters.read(arms), await self._counters.attributed(arms)
            told.append(
                {
                    "name": experiment.name,
                    "running": experiment.holds_at(time.time()) and experiment.name not in policies.stopped,
                    "stopped": experiment.name in policies.stopped,
                    "arms": [
                        {"name": name, **counted[arm], "attributed": attributed[arm]}
                        for arm in arms
                        for name in arm[1:]
                    ],
                    "guard_rails": [asdict(finding) for finding in await self._guard.findings(experiment)],
                }
            )
        held_out = (HOLDOUT, HOLDOUT)
        holdout = (await self._counters.read([held_out]))[held_out] if policies.experiments.holdout else None
        return {"experiments": told, "holdout": holdout}

    async def _run(self, book: RuleBook, trial: Trial) -> DryRun:
        live = self._engine.live
        bundle = live.bundle
        if trial.item_id is not None and trial.item_id not in bundle.items:
            raise UnknownItemError(trial.item_id)
        page = -1 if trial.item_id is None else bundle.items.idx(trial.item_id)
        now_s = time.time() if trial.now_s is None else trial.now_s
        state = NOBODY
        if trial.user_id is not None:
            state, _ = await self._engine.state(live, trial.user_id)
        surface = "feed" if trial.item_id is None else "similar"
        groups = segments(live, trial.user_id, state) if trial.segments is None else trial.segments
        occasion = Occasion(now_s, trial.user_id, page, frozenset({surface, trial.scenario} - {""}), groups)
        known, steering = bound(live, book, occasion, state)
        again = book.rules.seen.trained == "allow"
        user = UserState()
        if trial.user_id is not None:
            user = user_state(bundle.items, trial.user_id, state, known, trained_again=again)
        request = Request(trial.k, user, page=trial.item_id, scenario=trial.scenario, now_s=now_s)
        return await asyncio.to_thread(partial(dry_run, live.recommender, request, steering))

    async def _book(self, rules: RuleSet) -> RuleBook:
        bundle = self._engine.live.bundle
        return await asyncio.to_thread(
            lambda: RuleBook(rules, self._keeper.books.facts(bundle, texts=rules.needs_texts))
        )

    async def _put(self, documents: Documents, document: bytes, *, note: str, expected: int | None) -> int:
        await self._guard.look(probing=True)  # what Redis has lost comes back before it is changed
        try:
            version = await documents.put(document, note=note, expected=expected)
        except NotCurrentError as error:
            detail = f"{error}; it must be {expected}, on which this change was based"
            raise ProblemError(409, "not-current", detail, active=error.active) from None
        await self._guard.look(probing=True)
        return version

    async def _text(self, documents: Documents, what: str, version: int | None, active: int) -> tuple[int, bytes]:
        """A version and its JSON."""
        wanted = active if version is None else version
        policies = self._keeper.policies
        if what == "rules" and wanted in policies.rules:
            return wanted, policies.rules[wanted].dump()
        if what == "experiments" and wanted == policies.experiments_version:
            return wanted, policies.experiments.dump()
        raw = await documents.get(wanted)
        if raw is None:
            raise ProblemError(404, "no-such-version", f"there is no version {wanted} of the {what}")
        return wanted, raw

    async def _told(self, documents: Documents, what: str, version: int | None, active: int) -> dict[str, Any]:
        found, raw = await self._text(documents, what, version, active)
        history: list[About] = await documents.history() if self._engine.store.up else []
        return {
            "version": found,
            "active": active,
            what: orjson.Fragment(raw),
            "history": [asdict(about) for about in history],
        }


def _read(kind: type[RuleSet] | type[Experiments], raw: bytes, what: str) -> Any:
    try:
        return kind.read(raw, what)
    except InputError as error:
        raise _invalid(what, str(error).removeprefix(f"{what}: ").split("; ")) from None


def _invalid(what: str, said: list[str]) -> ProblemError:
    errors = [{"place": f"body.{what}", "rule": one, "value": ""} for one in said]
    return ProblemError(422, "invalid-request", f"{what}: {'; '.join(said)}", errors=errors)
