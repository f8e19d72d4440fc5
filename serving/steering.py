"""What is done to an answer beside ranking: the arms its user is in, the rules that hold, what may be seen again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.experiments import Assignment, Overrides
from recsys.pipeline.stage import Stage
from recsys.recommendation import Part
from recsys.rules.book import RuleBook
from recsys.rules.compiled import Mask
from recsys.rules.occasion import Occasion
from recsys.rules.seen import Known, SeenPolicy
from recsys.rules.stages import Steering
from serving.counters import Counters
from serving.events import CLICKS, Event
from serving.live import Live
from serving.memory import LiveState
from serving.models import OtherModels
from serving.policy_keeper import PolicyKeeper
from serving.telemetry import Telemetry

NOBODY = LiveState()


@dataclass(frozen=True, eq=False)
class Enrolled:
    """A request's part in the experiments.

    Args:
        live: the model it is answered by.
        assignment: its arms, and what they change.
        user_id: the one who asks; None for a visitor without an id.
        scenarios: the surface and the scenario.
        now_s: the moment of asking, UTC seconds.
    """

    live: Live
    assignment: Assignment
    user_id: str | None
    scenarios: frozenset[str]
    now_s: float

    @property
    def model(self) -> str | None:
        """The version that an arm names; None where the current one answers."""
        return self.assignment.overrides.model


@dataclass(frozen=True, eq=False)
class Steered:
    """What holds for one request.

    Args:
        arms: experiment → arm.
        rules_version: of the rules applied, 0 for none stored.
        known: what the user has had to do with, sorted by the rules' seen policy; None: none of it may come again.
        trained_again: whether what the model was trained on as the user's may be shown.
        steering: the rules, bound to the request.
        weights: how much each way of being alike counts, where the request names none; None: as published.
    """

    arms: Mapping[str, str]
    rules_version: int
    known: Known | None
    trained_again: bool
    steering: Steering
    weights: Mapping[Part, float] | None = None

    @property
    def allowed(self) -> NDArray[np.bool_] | None:
        """What the hard filters leave, bool [n_items]; None: everything."""
        return self.steering.allowed()

    def stages(self) -> list[Stage]:
        """What changes the order of the candidates."""
        return self.steering.stages()

    @property
    def now_s(self) -> float:
        """The moment of asking, UTC seconds."""
        return self.steering.occasion.now_s

    @property
    def pool(self) -> int:
        """Candidates that the stages look at, at least."""
        diversity, exploration = self.steering.diversity, self.steering.exploration
        return max(100, 0 if diversity is None else diversity.depth, 0 if exploration is None else exploration.pool)

    @property
    def draws(self) -> bool:
        """Whether chance has a say."""
        exploration = self.steering.exploration
        return exploration is not None and not exploration.off

    @property
    def plain(self) -> bool:
        """Whether nothing is done, so that a stored list may answer."""
        unchanged = self.steering.book.rules.seen == SeenPolicy()
        return unchanged and self.weights is None and self.allowed is None and not self.stages()


class Steerer:
    """One worker's way from a request to what holds for it.

    Args:
        keeper: the rules and experiments.
        others: the models that arms name.
        counters: what the arms showed, and what came of it.
        telemetry: likewise, for the operators.
        purchases: types of events that mean buying.
    """

    def __init__(
        self,
        *,
        keeper: PolicyKeeper,
        others: OtherModels,
        counters: Counters,
        telemetry: Telemetry,
        purchases: Iterable[str],
    ) -> None:
        self.keeper = keeper
        self._others = others
        self._counters = counters
        self._telemetry = telemetry
        self._purchases = frozenset(purchases)

    def enrolled(self, live: Live, user_id: str | None, scenarios: frozenset[str], now_s: float) -> Enrolled:
        """The arms of a request, and the model it is answered by.

        Args:
            live: the model of everybody.
            user_id: the one who asks; None for a visitor without an id, who is in no experiment.
            scenarios: the surface and the scenario of the request.
            now_s: UTC seconds.
        """
        policies = self.keeper.policies
        found = policies.experiments.assign(user_id, scenarios=scenarios, now_s=now_s, stopped=policies.stopped)
        model = found.overrides.model
        answering = live if model is None else self._others.get(model) or live
        return Enrolled(answering, found, user_id, scenarios, now_s)

    def steered(self, enrolled: Enrolled, state: LiveState, *, page: int = -1, begin: int = 0) -> Steered:
        """What holds for a request.

        Args:
            enrolled: see `enrolled`.
            state: what the user did lately.
            page: row of the item whose page asks, -1 for none.
            begin: slots that earlier pages of the list have filled.
        """
        live, changed = enrolled.live, enrolled.assignment.overrides
        version, book = self.keeper.book(live.bundle, changed.rules)
        known, steering = bound(
            live,
            book,
            Occasion(
                enrolled.now_s, enrolled.user_id, page, enrolled.scenarios, segments(live, enrolled.user_id, state)
            ),
            state,
            begin=begin,
            overrides=changed,
        )
        again = book.rules.seen.trained == "allow"
        weights = None if page < 0 else changed.weights
        return Steered(enrolled.assignment.arms, version, known, again, steering, weights)

    def filters(self, live: Live, user_id: str | None, state: LiveState, surface: str) -> tuple[int, Mask | None]:
        """The version of everybody's rules, and what their hard filters leave, bool [n_items] (None: everything), for
        a list that is no matter of experiments.
        """
        version, book = self.keeper.book(live.bundle)
        groups = segments(live, user_id, state)
        return version, book.allowed(Occasion(time.time(), user_id, -1, frozenset({surface}), groups))

    def count(self, arms: Mapping[str, str], *, slots: int, asked: int, fallback: bool) -> None:
        """Count an answer for its arms."""
        short = slots < asked
        self._counters.add(arms, answers=1, slots=slots, short=int(short), fallbacks=int(fallback))
        for experiment, arm in arms.items():
            self._telemetry.arms.labels(experiment, arm, "no" if short else "yes").inc()

    def count_events(self, events: Iterable[Event]) -> None:
        """Count clicks and purchases for the arms of their users."""
        policies = self.keeper.policies
        if not policies.experiments.experiments:
            return
        for event in events:
            buys = event.event_type in self._purchases
            clicks = event.event_type in CLICKS and event.recommendation_id is not None
            if buys or clicks:
                arms = policies.experiments.arms_of(event.user_id, now_s=event.timestamp, stopped=policies.stopped)
                self._counters.add(arms, clicks=int(clicks), purchases=int(buys))


def bound(
    live: Live,
    book: RuleBook,
    occasion: Occasion,
    state: LiveState,
    *,
    begin: int = 0,
    overrides: Overrides | None = None,
) -> tuple[Known | None, Steering]:
    """Rules bound to a request, and what its user has had to do with as they sort it; None: none of it may come again.

    Args:
        live: the model that answers.
        book: the rules, compiled for it.
        occasion: who asks, where and when.
        state: what the user did lately.
        begin: slots that earlier pages of the list have filled.
        overrides: what an experiment changes.
    """
    rules, changed = book.rules, overrides or Overrides()
    known = None if rules.seen.final else rules.seen.sort(state.seen, state.bought, occasion.now_s)
    fading: dict[int, float] = {}
    if known is not None and occasion.page < 0:  # similar items are shown whether seen or not
        rows = live.bundle.items.idxs(list(known.factors)).tolist()
        pairs = zip(rows, known.factors.values(), strict=True)
        fading = {row: factor for row, factor in pairs if row >= 0 and factor < 1}
    return known, Steering(
        book,
        occasion,
        fading,
        begin,
        rules.diversity if changed.diversity is None else changed.diversity,
        rules.exploration if changed.exploration is None else changed.exploration,
    )


def segments(live: Live, user_id: str | None, state: LiveState) -> frozenset[str]:
    """The groups that rules may name: "anonymous" without an id; else "known" to the model or "new", "active" with
    recent events, "buyer" once something was bought; and "name:value" for each attribute the shop gave the user.
    """
    if user_id is None:
        return frozenset({"anonymous"})
    found = {"known" if user_id in live.bundle.users else "new"}
    said = {f"{name}:{value}" for name, values in state.attributes.items() for value in values}
    return frozenset(found | said | ({"active"} if state.recent else set()) | ({"buyer"} if state.bought else set()))
