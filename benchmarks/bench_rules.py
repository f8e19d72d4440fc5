"""What rules, diversity and exploration add to a request, beside plain Python loops over the same items.

    .venv/bin/python benchmarks/bench_rules.py --items 100000 --json rules.json

A catalog of drawn attributes and prices; a rule set of 20 rules (8 filters, 8 boosts and buries, 2 caps, 2 pins).
Medians of repeated calls, in CPU time of the thread, so that a busy machine does not count. A loop evaluates the same
conditions item by item with Python's own operators, already written out as code, so it pays nothing for parsing; the
loops of MMR and DPP are the definitions.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from figures import keep, takes_json

from features.vectors.rows import unit_rows
from features.vocabulary import Vocabulary
from recsys.diversity import dpp, merit_of_places, mmr
from recsys.exploration import ExplorationConfig
from recsys.pipeline.ranked import by_factor
from recsys.rules.book import RuleBook
from recsys.rules.facts import Facts
from recsys.rules.model import RuleSet
from recsys.rules.occasion import Occasion
from recsys.slots import fill

K, DIM = 12, 64
RULES = [
    {"name": "f1", "hide": "tag:adult"},
    {"name": "f2", "keep": "price < 90 or has(tag)"},
    {"name": "f3", "hide": "brand in (b1, b2, b3) and not category under c7"},
    {"name": "f4", "hide": "price > 80 and stock < 2"},
    {"name": "f5", "hide": "seller = @user"},
    {"name": "f6", "keep": "available"},
    {"name": "f7", "hide": "age > 2000d"},
    {"name": "f8", "hide": "item_id in (i5, i6, i7)"},
    *({"name": f"up{n}", "boost": f"brand = b{n + 10} or category under c{n}", "factor": 1.5 + n} for n in range(4)),
    *({"name": f"down{n}", "bury": f"price > {60 + n} and not tag:sale", "factor": 1.5 + n} for n in range(4)),
    {"name": "cap1", "cap": "brand", "at_most": 2},
    {"name": "cap2", "cap": "category", "at_most": 4, "depth": 1},
    {"name": "pin1", "pin": "i100", "slot": 3},
    {"name": "pin2", "pin": "i200", "slot": 9},
]
NOW_S = 1.7e9


def catalog(n_items: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Display data of drawn items."""
    shown = []
    for _ in range(n_items):
        category = f"c{rng.integers(20)}"
        attributes = {
            "brand": [f"b{rng.integers(500)}"],
            "category": [category, f"{category} > d{rng.integers(10)}"],
            "tag": [["sale"], ["adult"], []][int(rng.choice(3, p=[0.2, 0.05, 0.75]))],
            "stock": [str(rng.integers(10))],
            "seller": [f"u{rng.integers(1000)}"],
            "added": [f"{rng.integers(2015, 2024)}-0{rng.integers(1, 10)}-15"],
        }
        price = None if rng.random() < 0.05 else float(np.round(rng.gamma(2, 20), 2))
        shown.append({"price": price, "available": bool(rng.random() < 0.97), "attributes": attributes})
    return shown


def passes(item: dict[str, Any], item_id: str, user: str, born: float) -> bool:
    """The eight filters, by hand."""
    of, price = item["attributes"], item["price"]
    if "adult" in of["tag"] or not ((price is not None and price < 90) or of["tag"]):
        return False
    if of["brand"][0] in ("b1", "b2", "b3") and not any((c + " > ").startswith("c7 > ") for c in of["category"]):
        return False
    if price is not None and price > 80 and float(of["stock"][0]) < 2:
        return False
    if of["seller"][0] == user or not item["available"] or NOW_S - born > 2000 * 86_400:
        return False
    return item_id not in ("i5", "i6", "i7")


def factor_of(item: dict[str, Any]) -> float:
    """The eight boosts and buries, by hand."""
    of, price, factor = item["attributes"], item["price"], 1.0
    for n in range(4):
        if of["brand"][0] == f"b{n + 10}" or any((c + " > ").startswith(f"c{n} > ") for c in of["category"]):
            factor *= 1.5 + n
    for n in range(4):
        if price is not None and price > 60 + n and "sale" not in of["tag"]:
            factor *= 1 / (1.5 + n)
    return factor


def loop_mmr(merit: list[float], vectors: list[list[float]], k: int, share: float) -> list[int]:
    """The definition, with every likeness computed when it is needed."""
    taken: list[int] = []
    for _ in range(k):
        best, best_value = -1, -math.inf
        for item, value in enumerate(merit):
            if item in taken:
                continue
            near = max([0.0, *(sum(map(float.__mul__, vectors[item], vectors[one])) for one in taken)])
            if (1 - share) * value - share * near > best_value:
                best, best_value = item, (1 - share) * value - share * near
        taken.append(best)
    return taken


def loop_dpp(merit: np.ndarray, kernel: np.ndarray, k: int, share: float) -> list[int]:
    """The definition, with a determinant for every item at every step."""
    taken: list[int] = []
    for _ in range(k):
        values = {
            item: (1 - share) * merit[[*taken, item]].sum()
            + share * np.linalg.slogdet(kernel[np.ix_([*taken, item], [*taken, item])])[1]
            for item in range(len(merit))
            if item not in taken
        }
        taken.append(max(values, key=values.__getitem__))
    return taken


def loop_draw(n: int, k: int, temperature: float, rng: np.random.Generator) -> list[int]:
    """Plackett-Luce, one item after the other."""
    left = {item: (item + 1) ** (-1 / temperature) for item in range(n)}
    drawn = []
    for _ in range(k):
        chance = rng.random() * sum(left.values())
        for item, weight in left.items():  # noqa: B007 - the last one is meant
            chance -= weight
            if chance <= 0:
                break
        drawn.append(item)
        del left[item]
    return drawn


def loop_marginals(shown: list[int], n: int, draws: int, temperature: float, rng: np.random.Generator) -> list[float]:
    """Mean probability of each shown item in its slot, given the beginnings of drawn lists."""
    sums = [0.0] * len(shown)
    for _ in range(draws):
        left = {item: (item + 1) ** (-1 / temperature) for item in range(n)}
        for slot, (item, target) in enumerate(zip(loop_draw(n, len(shown), temperature, rng), shown, strict=True)):
            sums[slot] += left.get(target, 0.0) / sum(left.values())
            del left[item]
    return [total / draws for total in sums]


def median_us(call: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call, microseconds."""
    times = []
    for _ in range(repeats):
        began = time.thread_time()
        call()
        times.append(time.thread_time() - began)
    return float(np.median(times)) * 1e6


Row = tuple[str, float, float]


def over_the_catalog(book: RuleBook, shown: list[dict[str, Any]], occasion: Occasion) -> Row:
    """The filters of a request, whose masks are kept but for the one that depends on who asks."""
    items, user = book.facts.items, occasion.user_id or ""
    born = np.zeros(len(shown))
    rows, seconds = book.facts.dates("added")
    born[rows] = seconds

    def loop() -> list[bool]:
        return [passes(item, items[row], user, born[row]) for row, item in enumerate(shown)]

    mask = book.allowed(occasion)
    assert mask is not None
    assert mask.tolist() == loop(), "the filters and the loop must select the same items"
    ours = median_us(lambda: book.allowed(occasion), 200)
    return f"8 filters over {len(shown):,} items", ours, median_us(loop, 3)


def over_candidates(
    book: RuleBook, shown: list[dict[str, Any]], occasion: Occasion, n: int, rng: np.random.Generator
) -> list[Row]:
    """Boosts, caps, pins, diversity and draws for one request with n candidates."""
    found = rng.choice(len(shown), n, replace=False)
    merit, units = merit_of_places(n), unit_rows(rng.standard_normal((n, DIM)).astype(np.float32))
    kernel = 0.5 + 0.5 * units.astype(np.float64) @ units.T
    np.fill_diagonal(kernel, 1.0)
    merits, vectors = merit.tolist(), units.tolist()
    once = ExplorationConfig(temperature=0.3, pool=n, marginal_draws=0)
    many = once.model_copy(update={"marginal_draws": 64, "pool": 50})

    def order() -> list[int]:
        factor = book.factor(found, occasion)
        assert factor is not None
        placed: list[int] = by_factor(factor).tolist()
        return placed

    def loop_order() -> list[int]:
        places = [(place + 1) / factor_of(shown[row]) for place, row in enumerate(found.tolist())]
        return sorted(range(len(places)), key=places.__getitem__)

    assert order() == loop_order(), "boosts and the loop must order alike"
    top = 2 * K
    assert mmr(merit, units, top, 0.3).tolist() == loop_mmr(merits, vectors, top, 0.3)
    assert dpp(merit, units, top, 0.3).tolist() == loop_dpp(merit, kernel, top, 0.3)
    calls: list[tuple[str, Callable[[], object], Callable[[], object] | None]] = [
        (f"8 boosts and buries, {n} candidates", order, loop_order),
        (
            f"2 caps and 2 pins, {n} candidates",
            lambda: fill(n, K, caps=book.caps(found, occasion), pins={2: 5, 8: 9}),
            None,
        ),
        (f"MMR, {top} of {n}", lambda: mmr(merit, units, top, 0.3), lambda: loop_mmr(merits, vectors, top, 0.3)),
        (f"DPP, {top} of {n}", lambda: dpp(merit, units, top, 0.3), lambda: loop_dpp(merit, kernel, top, 0.3)),
        (
            f"draw of {K} from {n}, with conditional probabilities",
            lambda: fill(n, K, exploration=once, seed=1),
            lambda: loop_draw(n, K, 0.3, rng),
        ),
        (
            f"the same from 50 of {n}, with marginals by 64 draws",
            lambda: fill(n, K, exploration=many, seed=1),
            lambda: loop_marginals(loop_draw(50, K, 0.3, rng), 50, 64, 0.3, rng),
        ),
    ]
    return [(what, median_us(ours, 50), math.nan if loop is None else median_us(loop, 3)) for what, ours, loop in calls]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    takes_json(parser)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    shown = catalog(asked.items, rng)
    began = time.thread_time()
    facts = Facts(Vocabulary(tuple(f"i{row}" for row in range(asked.items))), shown)
    read = time.thread_time()
    book = RuleBook(RuleSet.read({"rules": RULES}, "rules"), facts)
    book.warm()
    warm = time.thread_time()
    occasion = Occasion(NOW_S, "u5")
    book.allowed(occasion)
    rows = [over_the_catalog(book, shown, occasion)]
    for n in (100, 500):
        rows += over_candidates(book, shown, occasion, n, rng)
    table = [{"what": what, "us": ours, "loop_us": loop, "ratio": loop / ours} for what, ours, loop in rows]
    keep(asked, {"columns_s": read - began, "compiled_ms": (warm - read) * 1e3, "rows": table})
    print(f"columns of {asked.items:,} items: {read - began:.2f} s; 20 rules compiled: {(warm - read) * 1e3:.1f} ms")
    print(f"{'a request':60} {'us':>9} {'loop us':>12} {'ratio':>8}")
    for what, ours, loop in rows:
        print(f"{what:60} {ours:9.1f} {loop:12.1f} {loop / ours:8.1f}")


if __name__ == "__main__":
    main()
