from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import InputError
from features.quarantine import Quarantine
from recsys.replay.attribution import AttributionRules
from recsys.replay.engine import replay
from recsys.replay.form import LogFormat
from recsys.replay.hygiene import HygieneConfig
from recsys.replay.log import Log
from recsys.replay.policy import Logged
from recsys.replay.reading import read_logs

HEADER = "request_id,user_id,item_id,position,propensity,policy,clicked,timestamp\n"
BANDIT = Path(__file__).parents[4] / "shared/data/open-bandit"


def read(path: Path, text: str, form: LogFormat | None = None) -> tuple[list[Log], Quarantine]:
    path.write_text(text)
    quarantine = Quarantine()
    return read_logs(path, form, quarantine=quarantine), quarantine


def test_requests_come_in_order_of_time_with_their_slots_together(tmp_path: Path) -> None:
    rows = "r2,u,a,1,0.5,p,0,2024-01-02\nr1,u,b,0,0.5,p,1,2024-01-01\nr2,v,b,0,0.25,p,1,2024-01-02\n"
    (log,), quarantine = read(tmp_path / "log.csv", HEADER + rows)
    assert quarantine.total == 0
    assert (log.name, log.items.ids) == ("p", ("a", "b"))
    assert log.request_idx.tolist() == [0, 1, 1]
    assert log.position.tolist() == [0, 0, 1]
    assert log.item_idx.tolist() == [1, 1, 0]
    assert log.propensity.tolist() == [0.5, 0.25, 0.5]
    assert log.reward.tolist() == [1, 1, 0]
    assert log.timestamp.tolist() == [1704067200, 1704153600, 1704153600]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("r9,u,,0,0.5,p,0,2024-01-01", "item_id is missing"),
        ("r9,u,a,-1,0.5,p,0,2024-01-01", "position must be a whole number >= 0"),
        ("r9,u,a,x,0.5,p,0,2024-01-01", "position must be a whole number >= 0"),
        ("r9,u,a,0,,p,0,2024-01-01", "propensity is missing"),
        ("r9,u,a,0,0,p,0,2024-01-01", "propensity must be in (0, 1]"),
        ("r9,u,a,0,1.2,p,0,2024-01-01", "propensity must be in (0, 1]"),
        ("r9,u,a,0,0.5,p,2,2024-01-01", "click must be 0 or 1"),
        ("r9,u,a,0,0.5,p,,2024-01-01", "click must be 0 or 1"),
        ("r9,u,a,0,0.5,p,0,never", "timestamp must be a time from 1990 to 2099, in one unit for all rows"),
        (",u,a,0,0.5,p,0,2024-01-01", "request_id is missing"),
        ("r1,u,a,0,0.5,p,0,2024-01-01", "the same slot is there twice"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_rule(tmp_path: Path, row: str, rule: str) -> None:
    good = "r1,u,a,0,0.5,p,0,2024-01-01\nr2,u,b,0,0.5,p,1,2024-01-01\n"
    logs, quarantine = read(tmp_path / "log.csv", HEADER + good + row + "\n")
    assert quarantine.counts[rule] == 1
    (refusal,) = (one for one in quarantine.refusals if one.rule == rule)
    assert (refusal.file, refusal.row) == ("log.csv", 2)
    assert sum(len(log) for log in logs) == (1 if rule == "the same slot is there twice" else 2)


def test_a_list_with_a_hole_is_refused_as_a_whole(tmp_path: Path) -> None:
    rows = "r1,u,a,0,0.5,p,0,2024-01-01\nr1,u,b,1,7,p,1,2024-01-01\nr2,u,b,0,0.5,p,1,2024-01-01\n"
    (log,), quarantine = read(tmp_path / "log.csv", HEADER + rows)
    assert len(log) == 1
    assert quarantine.counts == {
        "propensity must be in (0, 1]": 1,
        "another slot of the same request was refused": 1,
    }


def test_users_that_behave_like_programs_are_refused(tmp_path: Path) -> None:
    form = LogFormat(hygiene=HygieneConfig(bot_rows_an_hour=5, bot_clicks=3))
    busy = [f"b{n},busy,a,0,0.5,p,0,2024-01-01T00:{n:02}:00" for n in range(6)]
    eager = [f"e{n},eager,a,0,0.5,p,1,2024-01-0{n + 1}" for n in range(3)]
    person = [f"p{n},person,a,0,0.5,p,{n % 2},2024-01-0{n + 1}" for n in range(6)]
    nobody = [f"n{n},,a,0,0.5,p,1,2024-01-01" for n in range(9)]
    (log,), quarantine = read(tmp_path / "log.csv", HEADER + "\n".join([*busy, *eager, *person, *nobody]), form)
    assert len(log) == 15
    assert quarantine.counts == {
        "the user has over 5 slots in an hour, like a program": 6,
        "the user clicks 90% of everything, like a program": 3,
    }


def test_policies_and_campaigns_are_told_apart_and_a_campaign_shares_its_items(tmp_path: Path) -> None:
    text = "item_id,click,pscore,behavior_policy,campaign\na,0,0.5,x,m\nb,1,0.5,y,m\nc,0,1,x,w\n"
    logs, _ = read(tmp_path / "log.csv", text)
    assert [(log.name, log.items.ids, len(log)) for log in logs] == [
        ("x/m", ("a", "b"), 1),
        ("x/w", ("c",), 1),
        ("y/m", ("a", "b"), 1),
    ]


def test_missing_propensities_are_counted_by_kind_of_slot_and_said_loudly(tmp_path: Path) -> None:
    rows = [f"{item},{position},0" for position, items in ((1, "aaab"), (2, "bbbb")) for item in items]
    (log,), _ = read(tmp_path / "log.csv", "item_id,position,click\n" + "\n".join(rows))
    assert log.propensity.tolist() == [0.75, 0.75, 0.75, 0.25, 1, 1, 1, 1]
    assert log.position.tolist() == [0] * 4 + [1] * 4  # counted from 1 in the file
    assert log.estimated == "counted by position"
    assert "PROPENSITIES ARE ESTIMATED" in log.notes[0]


def test_groups_are_combinations_of_columns_and_propensities_are_counted_within(tmp_path: Path) -> None:
    rows = [f"{item},0,new,{'m' if n % 2 else 'f'}" for n, item in enumerate("abababab" * 10)]
    form = LogFormat(group=("kind", "sex"))
    (log,), _ = read(tmp_path / "log.csv", "item_id,click,kind,sex\n" + "\n".join(rows), form)
    assert sorted(log.groups) == ["new · f", "new · m"]
    assert log.estimated == "counted by position and group"
    assert log.propensity.tolist() == [1.0] * 80


def test_columns_may_be_named_and_other_rewards_kept(tmp_path: Path) -> None:
    form = LogFormat(columns={"item_id": "sku", "propensity": "p"}, reward="euro", also=("bought",))
    (log,), quarantine = read(tmp_path / "log.csv", "sku,p,euro,bought\na,0.5,3.5,1\nb,0.5,x,0\n", form)
    assert (log.reward.tolist(), log.others["bought"].tolist()) == ([3.5], [1])
    assert quarantine.counts == {"euro must be a number": 1}


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("sku,click\na,1\n", LogFormat(), "must have a column item_id"),
        ("item_id\na\n", LogFormat(), "must have a column click"),
        ("item_id,click\na,1\n", LogFormat(columns={"propensity": "p"}), "no column 'p'"),
        ("item_id,click\na,1\n", LogFormat(columns={"price": "click"}), "--column knows"),
        ("item_id,click\na,1\n", LogFormat(also=("revenue",)), "no column 'revenue'"),
        ("item_id,click\na,7\n", LogFormat(), "no usable row: 1 were refused, for click must be 0 or 1"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_it_lacks(
    tmp_path: Path, text: str, form: LogFormat, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "log.csv", text, form)


EVENTS = "recommendation_id,user_id,item_id,event_type,timestamp,event_value,event_id\n"
SHOWN = """request_id,user_id,item_id,position,propensity,timestamp
r1,u,a,0,0.5,2024-01-01T00:00:00
r1,u,b,1,0.5,2024-01-01T00:00:00
r2,u,a,0,0.5,2024-01-01T01:00:00
"""


def rewards(folder: Path, events: str, rules: AttributionRules) -> tuple[list[float], Quarantine]:
    (folder / "events.csv").write_text(EVENTS + events)
    (log,), quarantine = read(folder / "log.csv", SHOWN, LogFormat(events=folder / "events.csv", attribution=rules))
    return log.reward.tolist(), quarantine


@pytest.mark.parametrize(
    ("events", "rules", "expected"),
    [
        ("r1,u,b,view,2024-01-01T00:05:00,,\n", AttributionRules(), [0, 1, 0]),
        ("r1,u,c,view,2024-01-01T00:05:00,,\n", AttributionRules(), [0, 0, 0]),
        ("r1,u,b,cart,2024-01-01T00:05:00,,\n", AttributionRules(), [0, 0, 0]),
        ("r1,u,b,view,2023-12-31T23:59:00,,\n", AttributionRules(), [0, 0, 0]),
        ("r1,u,b,view,2024-01-01T00:05:00,,\n", AttributionRules(window_s=60), [0, 0, 0]),
        ("r1,u,b,view,2024-01-01T00:05:00,,e\nr1,u,b,view,2024-01-01T00:06:00,,f\n", AttributionRules(), [0, 1, 0]),
        (
            "r1,u,b,view,2024-01-01T00:05:00,,e\nr1,u,b,view,2024-01-01T00:06:00,,f\n",
            AttributionRules(value="count"),
            [0, 2, 0],
        ),
        (
            "r1,u,b,buy,2024-01-01T00:05:00,9.5,\n",
            AttributionRules(event_types=("buy",), value="value"),
            [0, 9.5, 0],
        ),
        (",u,a,view,2024-01-01T00:30:00,,\n,u,a,view,2024-01-01T02:00:00,,\n", AttributionRules(), [0, 0, 0]),
        (",u,a,view,2024-01-01T00:30:00,,\n", AttributionRules(last_touch=True), [1, 0, 0]),
        (",u,a,view,2024-01-01T02:00:00,,\n", AttributionRules(last_touch=True), [0, 0, 1]),
        (",v,a,view,2024-01-01T02:00:00,,\n", AttributionRules(last_touch=True), [0, 0, 0]),
    ],
)
def test_events_earn_for_the_slot_that_the_rules_say(
    tmp_path: Path, events: str, rules: AttributionRules, expected: list[float]
) -> None:
    assert rewards(tmp_path, events, rules)[0] == expected


def test_an_event_that_is_there_twice_counts_once_and_bad_ones_are_quarantined(tmp_path: Path) -> None:
    events = "r1,u,b,view,2024-01-01T00:05:00,,e\n" * 2 + "r1,u,,view,2024-01-01T00:05:00,,\nr1,u,b,view,?,,\n"
    found, quarantine = rewards(tmp_path, events, AttributionRules(value="count"))
    assert found == [0, 1, 0]
    assert quarantine.counts == {
        "event_id is there twice": 1,
        "item_id is missing": 1,
        "timestamp must be a time from 1990 to 2099, in one unit for all rows": 1,
    }


@pytest.mark.real_data
@pytest.mark.skipif(not BANDIT.is_dir(), reason="shared/data/open-bandit is not beside the checkout")
def test_each_open_bandit_logs_own_mean_is_recovered_exactly_by_ips() -> None:
    frame = pd.read_parquet(BANDIT / "impressions.parquet")
    logs = read_logs(BANDIT, quarantine=Quarantine())
    assert [log.name for log in logs] == ["bts/men", "bts/women", "random/men", "random/women"]
    assert sum(log.reward.sum() for log in logs) == 207
    for log in logs:
        policy, _, campaign = log.name.partition("/")
        rows = frame[(frame["behavior_policy"] == policy) & (frame["campaign"] == campaign)]
        found = replay(log, [Logged(log)]).policies["logged"].estimators["ips"]
        assert found.value == rows["click"].mean()
        np.testing.assert_allclose(np.sort(log.propensity), np.sort(rows["propensity_score"]))


def test_segments_come_from_the_log_from_the_items_and_from_first_visits(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,category\na,hats\nb,shoes\n")
    text = "user_id,item_id,click,timestamp,device\nu,a,0,2024-01-01,phone\nu,b,1,2024-01-02,\n,c,0,2024-01-03,phone\n"
    form = LogFormat(segments=("device", "category"), items=tmp_path / "items.csv")
    (log,), _ = read(tmp_path / "log.csv", text, form)
    found = {name: [(*labels, "-")[code] for code in codes] for name, (labels, codes) in log.segments.items()}
    assert found == {
        "device": ["phone", "-", "phone"],
        "category": ["hats", "shoes", "-"],
        "user": ["first met", "met before", "-"],
    }
    judged = replay(log, [Logged(log)]).policies["logged"]
    assert [part.n for part in judged.parts["category"]] == [1, 1]
    with pytest.raises(InputError, match="'brand' is a column of neither"):
        read(tmp_path / "log.csv", text, LogFormat(segments=("brand",)))


def test_what_the_service_leaves_is_read_as_it_is(tmp_path: Path) -> None:
    """Slots of `recsys log merge`: clicks are in the events beside them, propensities given the slots above."""
    (tmp_path / "impressions.csv").write_text(
        "entry_id,request_id,user_id,timestamp,policy,campaign,subject,position,item_id,source,propensity,marginal\n"
        "1-0,r1,,1700000000,v1,similar,p,0,a,published,0.5,0.5\n1-0,r1,,1700000000,v1,similar,p,1,b,published,0.25,\n"
        "2-0,r2,u,1700000100,v1,feed,u,0,b,personalized,0.5,0.5\n"
    )
    (tmp_path / "events.csv").write_text(
        "entry_id,event_id,user_id,item_id,event_type,timestamp,recommendation_id\n"
        "1-0,e1,w,b,view,1700000050,r1\n2-0,e2,u,b,view,1700000150,\n"
    )
    logs = read_logs(tmp_path, quarantine=Quarantine())
    assert [log.name for log in logs] == ["v1/feed", "v1/similar"]
    feed, similar = logs
    assert similar.reward.tolist() == [0, 1]
    assert similar.given_above
    assert similar.page is not None
    assert [similar.page[0][page] for page in similar.page[1]] == ["p", "p"]
    np.testing.assert_array_equal(similar.marginal, [0.5, np.nan])
    assert feed.reward.tolist() == [0]
    assert [feed.users[user] for user in feed.user_idx] == ["u"]
