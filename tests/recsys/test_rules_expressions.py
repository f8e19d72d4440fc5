from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from features.vocabulary import Vocabulary
from recsys.rules.book import RuleBook
from recsys.rules.compiled import Compiled
from recsys.rules.facts import Facts, GroupsOf
from recsys.rules.model import RuleSet
from recsys.rules.nodes import Among, And, Compare, Contains, Has, Node, Not, Or, Under
from recsys.rules.occasion import Occasion
from recsys.rules.review import review
from recsys.rules.syntax import MAX_DEPTH, MAX_TESTS, parse
from recsys.rules.tokens import MAX_CHARS, ExpressionError

DAY_S = 86_400.0
NOW_S = 1_767_225_600.0  # 2026-01-01T00:00Z


def item(**known: Any) -> dict[str, Any]:
    plain = {"title": "", "description": "", "price": None, "available": True}
    named = {name: known.pop(name) for name in tuple(known) if name in plain}
    return {**plain, **named, "attributes": {name: list(values) for name, values in known.items()}}


SHELF = [
    item(title="Red mug", price=10.0, brand=["Acme"], tag=["sale"], category=["Kitchen", "Kitchen > Mug"]),
    item(title="Blue mug", price=60.0, brand=["Bolt"], category=["Kitchen", "Kitchen > Mug"], added=["2025-12-25"]),
    item(title="Shoe", brand=["Acme", "Bolt"], tag=["adult"], year=["1999"], seller=["u1"], added=["2025-06-01"]),
    item(title="Boot", price=49.0, available=False, year=["2005"], category=["Kitchenware"]),
    item(title="Nothing known"),
]


@pytest.fixture
def shelf() -> Facts:
    return Facts(Vocabulary(tuple(f"i{row}" for row in range(len(SHELF)))), SHELF)


@pytest.fixture
def holds(shelf: Facts) -> Callable[..., list[int]]:
    """The rows an expression selects."""

    def rows(text: str, **asker: Any) -> list[int]:
        found: list[int] = np.flatnonzero(Compiled(text, shelf).mask(Occasion(NOW_S, **asker))).tolist()
        return found

    return rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("price < 50", [0, 3]),
        ("not price < 50", [1]),  # a missing price is on neither side
        ("not (price < 50 or brand = Acme)", [1]),  # i2 is known to be Acme, i4's price is not known
        ("price < 50 or not price < 50", [0, 1, 3]),
        ("price = 60", [1]),
        ("price != 60", [0, 3]),
        ("price in (10, 49)", [0, 3]),
        ("has(price)", [0, 1, 3]),
        ("not has(price)", [2, 4]),
        ("brand = acme", [0, 2]),
        ("brand != Acme", [1, 3, 4]),
        ("brand not in ('Acme', 'Bolt')", [3, 4]),
        ("not tag:adult", [0, 1, 3, 4]),  # no tags is no "adult"
        ('category under "Kitchen"', [0, 1]),  # Kitchenware is not below Kitchen
        ("category not under Kitchen", [2, 3, 4]),
        ("title contains MUG", [0, 1]),
        ("text contains 'known'", [4]),
        ("brand contains ol", [1, 2]),
        ("available", [0, 1, 2, 4]),
        ("available = false", [3]),
        ("year >= 2000", [3]),
        ("not year >= 2000", [2]),
        ("item_id in (i4, i0, nobody)", [0, 4]),
        ("age < 30d", [1]),
        ("age(added) > 4w", [2]),
        ("age <= 168h", [1]),
        ("has(age)", [1, 2]),
        ("price < 50 and brand in (Acme, Bolt) and not tag:adult", [0]),
        ("price < 50 or brand = Bolt and tag = adult", [0, 2, 3]),  # and binds closer than or
        ("(price < 50 or brand = Bolt) and tag = adult", [2]),
        ("`brand` = 'Bolt'", [1, 2]),
    ],
)
def test_an_expression_selects_the_items_for_which_it_is_known_to_hold(
    holds: Callable[..., list[int]], text: str, rows: list[int]
) -> None:
    assert holds(text) == rows


def test_an_expression_may_refer_to_who_asks_and_to_the_item_of_the_page(holds: Callable[..., list[int]]) -> None:
    assert holds("seller = @user", user_id="u1") == [2]
    assert holds("not seller = @user", user_id="u1") == [0, 1, 3, 4]
    assert holds("seller = @user", user_id="u2") == []
    assert holds("seller = @user") == []
    assert holds("same(brand)", page=1) == [1, 2]
    assert holds("same(category)", page=0) == [0, 1]
    assert holds("same(brand)", page=4) == []
    assert holds("same(brand)") == []


def test_what_does_not_depend_on_the_request_is_worked_out_once_and_ages_once_a_minute(shelf: Facts) -> None:
    fixed = Compiled("price < 50 and not tag:adult", shelf)
    assert fixed.mask(Occasion(NOW_S)) is fixed.mask(Occasion(NOW_S + DAY_S, user_id="u1"))
    aging = Compiled("age < 10d", shelf)
    assert aging.mask(Occasion(NOW_S)) is aging.mask(Occasion(NOW_S + 59))
    assert aging.mask(Occasion(NOW_S)).tolist() == [False, True, False, False, False]
    assert not aging.mask(Occasion(NOW_S + 4 * DAY_S)).any()


def naive(node: Node, shown: dict[str, Any]) -> bool | None:  # noqa: PLR0911 - one return a kind of node
    """Kleene's logic, one item at a time."""
    match node:
        case And(left, right) | Or(left, right):
            one, other = naive(left, shown), naive(right, shown)
            decisive = isinstance(node, Or)
            if decisive in (one, other):
                return decisive
            return None if None in (one, other) else not decisive
        case Not(inner):
            said = naive(inner, shown)
            return None if said is None else not said
        case Compare(field, sign, value):
            numbers = [shown["price"]] if field.name == "price" else map(float, shown["attributes"].get(field.name, []))
            known = [number for number in numbers if number is not None]
            bound = value.number or 0.0
            tests = {"<": lambda x: x < bound, "<=": lambda x: x <= bound, ">": lambda x: x > bound}
            return any(map(tests.get(sign, lambda x: x >= bound), known)) if known else None
        case Among(field, values):
            return any(value.text in shown["attributes"].get(field.name, []) for value in values)
        case Has(field):
            return bool(shown["attributes"].get(field.name))
        case Under(field, value):
            paths = [(path + " > ").startswith(value.text + " > ") for path in shown["attributes"].get(field.name, [])]
            return any(paths)
        case Contains(_, value):
            return value.text in shown["title"].lower()
        case _:
            raise AssertionError(node)


def test_masks_agree_with_a_naive_reading_item_by_item() -> None:
    rng = np.random.default_rng(3)
    shelf = [
        item(
            title=str(rng.choice(["red mug", "blue shoe"])),
            price=None if rng.random() < 0.3 else float(rng.integers(0, 9)),
            brand=rng.choice(["a", "b", "c"], size=rng.integers(0, 3), replace=False).tolist(),
            year=[str(rng.integers(0, 9)) for _ in range(rng.integers(0, 3))],
            kind=[str(rng.choice(["x", "x > y", "xx"]))],
        )
        for _ in range(80)
    ]
    facts = Facts(Vocabulary(tuple(f"i{row}" for row in range(80))), shelf)
    tests = ("price < 4", "price >= 6", "year > 3", "year <= 2", "brand = a", "brand in (b, c)", "has(year)")
    tests += ("kind under x", "title contains mug")
    for one, other, third in itertools.product(tests, repeat=3):
        text = f"{one} and not ({other} or not {third})"
        node = parse(text)
        expected = [naive(node, shown) is True for shown in shelf]
        assert Compiled(text, facts).mask(Occasion(NOW_S)).tolist() == expected, text


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("price <", 8, "expected a value, got 'the end'"),
        ("price < cheap", 9, 'expected a number after "<"'),
        ("price 50", 7, "expected a comparison"),
        ("brand in (Acme, Bolt", 21, 'expected ")"'),
        ("brand in ()", 11, "expected a value"),
        ("not", 4, "expected a field"),
        ("(price < 50", 12, 'expected ")"'),
        ("price < 50 brand = a", 12, '"and", "or" or the end'),
        ("price < 50 and", 15, "expected a field"),
        ('brand = "Acme', 9, "a quote must be closed"),
        ("price < 50; drop", 11, "a word, a number"),
        ("brand = @admin", 9, "expected @user"),
        ("brand not = Acme", 11, '"in", "under" or "contains"'),
        ("__import__('os')", 11, "expected a comparison"),
        ("", 1, "expected a field"),
    ],
)
def test_an_error_names_the_place_and_the_token(text: str, place: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.place + 1 == place
    assert said in str(caught.value)
    assert f"character {place}:" in str(caught.value)


def test_length_depth_and_number_of_tests_are_bounded() -> None:
    with pytest.raises(ExpressionError, match=f"at most {MAX_CHARS} characters"):
        parse("a = b" + " " * MAX_CHARS)
    parse("(" * MAX_DEPTH + "a = b" + ")" * MAX_DEPTH)
    for deep in ("(" * 500 + "a = b" + ")" * 500, "not " * 500 + "a = b"):
        with pytest.raises(ExpressionError, match="nested 32 deep at most"):
            parse(deep)
    with pytest.raises(ExpressionError, match=f"at most {MAX_TESTS} tests"):
        parse("a in (" + ",".join("x" * (MAX_TESTS + 1)) + ")")
    long = " or ".join("a=b" for _ in range(MAX_TESTS))
    assert parse(long) is not None  # a long chain is no deep one


def test_a_review_names_fields_and_values_that_the_catalog_does_not_have(shelf: Facts) -> None:
    found = review(parse("colour = red and price < 5"), shelf)
    assert len(found.errors) == 1
    assert found.errors[0].startswith("character 1: a field must be one of this catalog (price, available")
    assert "'colour'" in found.errors[0]
    assert review(parse("brand < 5"), shelf).errors == ["character 1: 'brand' holds no numbers, only texts"]
    assert review(parse("age(brand) < 5d"), shelf).errors == ["character 1: 'brand' holds no dates"]
    assert review(parse("price = cheap"), shelf).errors == ["character 1: a price is a number, got 'cheap'"]
    warned = review(parse("brand in (Acme, Acne) and category under Garden"), shelf)
    assert warned.errors == []
    assert warned.warnings == [
        "character 17: no item has 'Acne' as brand",
        "character 42: no item has 'Garden' as category",
    ]


def test_dates_are_read_in_every_form_that_cannot_be_mistaken() -> None:
    days = {"1997-08-01": 870_393_600.0, "01-Aug-1997": 870_393_600.0, "1 august 1997": 870_393_600.0}
    days |= {"1997-08-01T12:00:00+02:00": 870_429_600.0, "870393600": 870_393_600.0, "1997": 852_076_800.0}
    wrong = ["01/08/1997", "soon", "31-Foo-1997", "45 Aug 1997", "12"]
    values = [*days, *wrong]
    facts = Facts(Vocabulary(tuple(values)), [item(released=[value]) for value in values])
    rows, seconds = facts.dates("released")
    assert {values[row]: at for row, at in zip(rows.tolist(), seconds.tolist(), strict=True)} == days


def test_without_dates_an_age_is_refused() -> None:
    facts = Facts(Vocabulary(("i0",)), [item(brand=["Acme"])])
    assert "age needs an attribute that holds a date" in review(parse("age < 5d"), facts).errors[0]


def test_groups_of_a_path_are_its_whole_or_its_first_steps(shelf: Facts) -> None:
    whole, top = shelf.groups("category"), shelf.groups("category", 1)
    assert [[whole.names[code] for code in whole.of(row)] for row in range(5)] == [
        ["kitchen > mug"],
        ["kitchen > mug"],
        [],
        ["kitchenware"],
        [],
    ]
    assert [[top.names[code] for code in top.of(row)] for row in (0, 3)] == [["kitchen"], ["kitchenware"]]


def test_values_of_some_items_are_those_of_each_whether_it_has_none_one_or_several() -> None:
    brands = [["Acme"], [], ["Acme", "Bolt"], ["Bolt"], ["Cork"]]
    groups = Facts(Vocabulary(tuple("abcde")), [item(brand=values) for values in brands]).groups("brand")
    rows = np.array([2, 4, 1, 0, 3])
    of = GroupsOf(groups, rows)
    told = [sorted(groups.names[code] for code in of[place]) for place in range(5)]
    assert told == [sorted(name.casefold() for name in brands[row]) for row in rows.tolist()]


def test_titles_and_descriptions_are_kept_only_where_they_are_asked_for() -> None:
    shown = [item(title="Mug", description="Fires at 900 degrees"), item(title="Cup")]
    lean = Facts(Vocabulary(("a", "b")), shown, texts=False)
    assert (lean.title, lean.description) == ([], [])
    needs = RuleSet.read({"rules": [{"name": "x", "hide": "not (price < 3 or text contains fires)"}]}, "rules")
    assert needs.needs_texts
    assert RuleSet.read({"rules": [{"name": "x", "hide": "title contains mug"}]}, "rules").needs_texts
    with pytest.raises(ValueError, match="were read without"):
        RuleBook(needs, lean)
    full = RuleBook(needs, Facts(Vocabulary(("a", "b")), shown))
    mask = full.allowed(Occasion(NOW_S))
    assert mask is not None
    assert mask.tolist() == [True, True]  # of b the price is not known
    assert not RuleSet.read({"rules": [{"name": "x", "hide": "brand contains text"}]}, "rules").needs_texts


def test_facts_need_one_display_an_item() -> None:
    with pytest.raises(ValueError, match=r"one an item \(2\), there are 1"):
        Facts(Vocabulary(("a", "b")), [item()])
    with pytest.raises(ValueError, match=r"one an item \(1\), there are more"):
        Facts(Vocabulary(("a",)), [item(), item()])
