"""Which rules hold for a request, remembered by what requests have in common."""

from __future__ import annotations

from itertools import product
from typing import Any

from recsys.rules.holding import Holdings
from recsys.rules.model import RuleSet
from recsys.rules.occasion import Occasion

WHENS: tuple[dict[str, Any], ...] = (
    {},
    {"scenarios": ["feed"]},
    {"segments": ["new", "tier:gold"]},
    {"start": "1970-01-01T00:01:40Z"},
    {"scenarios": ["home"], "start": "1970-01-01T00:00:50Z", "end": "1970-01-01T00:02:30Z"},
)
SET = RuleSet.model_validate_json(
    RuleSet.model_validate(
        {
            "rules": [
                {"name": f"{action} {at}", action: "price < 5", "when": when}
                for action, (at, when) in product(("hide", "boost"), enumerate(WHENS))
            ]
            + [{"name": "off", "keep": "price < 5", "enabled": False}]
        },
        strict=False,
    ).model_dump_json(exclude_none=True, exclude_defaults=True)
)


def test_what_is_remembered_is_what_each_rule_says_of_the_request() -> None:
    holdings = Holdings(SET.rules)
    scenarios = [frozenset({"feed"}), frozenset({"feed", "home"}), frozenset({"similar"})]
    segments = [frozenset({"new"}), frozenset({"known", "tier:gold"}), frozenset({"anonymous"})]
    for now_s, where, who in product((0.0, 49.9, 50.0, 99.0, 100.0, 149.0, 150.0, 1e9), scenarios, segments):
        occasion = Occasion(now_s, None, -1, where, who)
        for _ in range(2):  # the second time from memory
            holding = holdings.at(occasion)
            expected = [rule for rule in SET.rules if rule.enabled and rule.when.holds(occasion)]
            assert holding.all("hide", "boost") == expected
            assert holding.any("boost") == any(rule.action == "boost" for rule in expected)
            assert not holding.any("keep", "cap")
