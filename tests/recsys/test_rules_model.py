from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from features.errors import InputError
from recsys.rules.model import RuleSet, When
from recsys.rules.occasion import Occasion
from recsys.rules.seen import Again, Known, SeenPolicy

DAY_S = 86_400.0

TOML = """
[[rules]]
name = "nothing for adults"
hide = "tag:adult"

[[rules]]
name = "garden in spring"
boost = "category under Garden"
factor = 3
when = { scenarios = ["home"], start = 2026-03-01T00:00:00Z, end = 2026-06-01T00:00:00Z }

[[rules]]
name = "two of a brand"
cap = "brand"

[[rules]]
name = "the hero"
pin = "sku-481"
slot = 2

[seen]
bought = { policy = "replenish", days = 30 }

[diversity]
method = "dpp"

[exploration]
temperature = 0.2
"""


def test_a_rule_set_reads_from_toml_and_comes_back_from_its_json(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(TOML)
    rules = RuleSet.load(path)
    assert [(rule.action, rule.expression) for rule in rules.rules] == [
        ("hide", "tag:adult"),
        ("boost", "category under Garden"),
        ("cap", None),
        ("pin", None),
    ]
    assert rules.seen.bought == Again(policy="replenish", days=30)
    assert RuleSet.read(rules.dump(), "rules") == rules
    (tmp_path / "rules.json").write_bytes(rules.dump())
    assert RuleSet.load(tmp_path / "rules.json") == rules


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"rules": [{"name": "a", "hide": "x =", "keep": "y = 1"}]}, "exactly one of keep, hide, boost"),
        ({"rules": [{"name": "a"}]}, "this one has none"),
        (
            {"rules": [{"name": "good", "hide": "a=b"}, {"name": "bad", "hide": "price <"}]},
            "rules[2] (bad): hide: char",
        ),
        (
            {"rules": [{"name": "a", "hide": "a=b", "factor": 3}]},
            "factor belongs to boost and bury, this rule has hide",
        ),
        (
            {"rules": [{"name": "a", "boost": "a=b", "factor": 0.5}]},
            "rules[1] (a).factor: Input should be greater than 1",
        ),
        ({"rules": [{"name": "a", "pin": "i", "slot": 0}]}, "rules[1] (a).slot"),
        ({"rules": [{"name": "a", "pin": "i"}, {"name": "a", "pin": "j"}]}, "rules 1 and 2 are both 'a'"),
        ({"rules": [{"name": "a", "hide": "a=b", "wen": {}}]}, "rules[1] (a).wen: Extra inputs are not permitted"),
        (
            {
                "rules": [
                    {
                        "name": "a",
                        "hide": "a=b",
                        "when": {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
                    }
                ]
            },
            "rules[1] (a).when: end must be after start",
        ),
        ({"seen": {"bought": {"policy": "decay"}}}, 'days belongs to "decay" and "replenish"'),
        ({"exploration": {"temperature": -1}}, "exploration.temperature: Input should be greater than or equal to 0"),
    ],
)
def test_a_bad_document_is_refused_with_the_rule_the_field_and_the_value(document: dict, said: str) -> None:
    for raw in (document, orjson.dumps(document)):
        with pytest.raises(InputError) as caught:
            RuleSet.read(raw, "rules.json")
        assert said in str(caught.value)
        assert str(caught.value).startswith("rules.json: ")


def test_a_rule_holds_in_its_scenarios_for_its_segments_and_in_its_time() -> None:
    when = When.model_validate(
        {
            "scenarios": ["home", "cart"],
            "segments": ["new"],
            "start": "1970-01-02T00:00:00",
            "end": "1970-01-03T00:00:00Z",
        }
    )

    def holds(now_s: float = DAY_S, scenario: str = "home", segment: str = "new") -> bool:
        return when.holds(Occasion(now_s, scenarios=frozenset({"feed", scenario}), segments=frozenset({segment})))

    assert holds()
    assert holds(2 * DAY_S - 1, "cart")
    assert not holds(2 * DAY_S)
    assert not holds(DAY_S - 1)
    assert not holds(scenario="search")
    assert not holds(segment="known")
    assert When().holds(Occasion(0.0))


def test_seen_items_stay_away_fade_in_or_come_back_after_so_many_days() -> None:
    now = 100 * DAY_S
    seen = {"just": now, "week": now - 7 * DAY_S, "soap": now - 40 * DAY_S, "bread": now}
    bought = {"soap": now - 40 * DAY_S, "bread": now - 2 * DAY_S}
    assert SeenPolicy().sort(seen, bought, now) == Known(frozenset(seen), {})
    policy = SeenPolicy(viewed=Again(policy="decay", days=7), bought=Again(policy="replenish", days=30))
    known = policy.sort(seen, bought, now)
    assert known.hidden == {"just", "bread"}  # bread was looked at again today, but it is what was bought that counts
    assert known.factors == {"week": 0.5, "soap": 1.0}
    assert SeenPolicy(viewed=Again(policy="allow")).sort(seen, bought, now) == Known(
        frozenset(bought), {"just": 1.0, "week": 1.0}
    )
