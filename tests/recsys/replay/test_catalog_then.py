"""A replayed bundle answers by the rules, prices and segments that held at each request's moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.bundle import Bundle
from recsys.replay.bundle_policy import answer_log
from recsys.replay.catalog_then import read_changes
from recsys.replay.history import read_history, read_segments
from recsys.replay.known_then import KnownThen
from recsys.replay.log import Log
from recsys.rules.model import RuleSet
from tests.recsys.replay.visits import DAY, T0, shown


def test_rules_hold_as_the_service_would_apply_them_at_the_requests_moment(
    two_tastes: Bundle, visits: Log, tmp_path: Path
) -> None:
    """i1 is hidden from the second day on, i9 pinned for who bought by then, what was viewed may come again."""
    second_day = datetime.fromtimestamp(T0 + DAY / 2, UTC).isoformat()
    rules = RuleSet.model_validate(
        {
            "rules": [
                {"name": "recall", "hide": "item_id = i1", "when": {"start": second_day}},
                {"name": "loyal", "pin": "i9", "slot": 1, "when": {"segments": ["buyer"]}},
            ],
            "seen": {"viewed": {"policy": "allow"}},
        }
    )
    (tmp_path / "events.csv").write_text(
        f"user_id,item_id,timestamp,event_type\nu2,i0,{T0 - 60},view\nu3,i5,{T0 + 60},purchase\nu2,i4,{T0 + 60},buy\n"
    )
    then = KnownThen(read_history(tmp_path / "events.csv", quarantine=Quarantine()), rules=rules)
    plain = KnownThen(then.history)
    ruled = shown(answer_log("b", two_tastes, visits, temperature=None, known=then).policy)
    unruled = shown(answer_log("b", two_tastes, visits, temperature=None, known=plain).policy)
    assert unruled[0] == [2, 4]
    assert 0 in ruled[0]  # seen a minute ago, and allowed to come again
    assert 9 not in ruled[0]  # u2 buys only later
    assert unruled[1][0] == 1
    assert ruled[1] == [9, 3]
    assert 1 not in ruled[2]


def test_only_prices_and_attributes_that_held_then_are_known(two_tastes: Bundle, visits: Log, tmp_path: Path) -> None:
    """i0 costs 5, and 50 after the first visit; i1 is on sale before the third. Later changes move nothing."""
    rules = RuleSet.model_validate(
        {
            "rules": [
                {"name": "cheap", "hide": "price > 10"},
                {
                    "name": "sale",
                    "pin": "i8",
                    "slot": 1,
                    "when": {"start": datetime.fromtimestamp(T0, UTC).isoformat()},
                },
                {"name": "no sale", "hide": "label = sale"},
            ]
        }
    )
    rows = f"i0,{T0 - DAY},5,\ni0,{T0 + 60},50,\ni1,{T0 + 60},,new\ni1,{T0 + 1.5 * DAY},,sale\n"
    future = f"i0,{T0 + 9 * DAY},5,\ni3,{T0 + 3 * DAY},99,sale\ni8,{T0 + 3 * DAY},99,\n"

    def answers(text: str) -> list[list[int]]:
        (tmp_path / "changes.csv").write_text("item_id,timestamp,price,label\n" + text)
        changes = read_changes(tmp_path / "changes.csv", two_tastes.items, quarantine=Quarantine())
        then = KnownThen(changes=changes, rules=rules)
        return shown(answer_log("b", two_tastes, visits, temperature=None, known=then).policy)

    first, second, third = answers(rows)
    assert first == [8, 0]
    assert second == [8, 1]
    assert not {0, 1} & set(third)
    assert answers(rows + future) == [first, second, third]
    # without dates the bundle's own prices would be known; a change of the past is
    assert answers(rows + f"i8,{T0 - DAY},99,\n")[0][0] == 0


def test_rules_hold_in_the_scenario_of_the_request_and_for_whom_the_shop_says(
    two_tastes: Bundle, visits: Log, tmp_path: Path
) -> None:
    rules = RuleSet.model_validate(
        {
            "rules": [
                {"name": "home", "pin": "i9", "slot": 1, "when": {"scenarios": ["home"]}},
                {"name": "club", "pin": "i7", "slot": 2, "when": {"segments": ["tier:gold"]}},
            ]
        }
    )
    (tmp_path / "users.csv").write_text("user_id,tier\nu2,silver\nu3,gold\n")
    segments = read_segments(tmp_path / "users.csv", quarantine=Quarantine())
    log = replace(visits, scenario=(("home", "cart"), np.array([0, 0, 1, 1, -1, -1])))
    found = shown(
        answer_log("b", two_tastes, log, temperature=None, known=KnownThen(rules=rules, segments=segments)).policy
    )
    assert [one[0] == 9 for one in found] == [True, False, False]
    assert [one[1] == 7 for one in found] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id,price\ni0,1\n", "must have a column timestamp"),
        ("item_id,timestamp\ni0,1700000000\n", "must have columns available, price or attributes"),
        ("item_id,timestamp,title\ni0,1700000000,x\n", "none of title, description, image"),
    ],
)
def test_changes_that_cannot_be_dated_are_named(two_tastes: Bundle, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "changes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_changes(tmp_path / "changes.csv", two_tastes.items, quarantine=Quarantine())
