"""The rules and experiments that hold for a worker at a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from math import isfinite

from recsys.documents import Window
from recsys.experiments import Experiments
from recsys.rules.model import RuleSet
from serving.settings import Settings


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

    @classmethod
    def of_files(cls, settings: Settings) -> Policies:
        """Those of the settings' files.

        Raises:
            InputError: one cannot be used.
        """
        rules = RuleSet() if settings.rules is None else RuleSet.load(settings.rules)
        experiments = Experiments() if settings.experiments is None else Experiments.load(settings.experiments)
        return cls({0: rules}, experiments=experiments)

    @property
    def models(self) -> frozenset[str]:
        """Versions that arms of experiments answer from."""
        arms = (arm for one in self.experiments.experiments for arm in one.arms)
        return frozenset(arm.overrides.model for arm in arms if arm.overrides.model is not None)
