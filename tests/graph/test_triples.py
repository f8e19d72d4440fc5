from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from features.catalog import Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.relations.triples import read_triples, triple_edges

ROWS = [
    ("i0", "sequel_of", "i1"),
    ("i1", "made_in", "Berlin"),
    ("Acme", "founded_in", "Berlin"),
    ("i2", "liked_by", "user:u1"),
]


def write(
    folder: Path, rows: list[tuple[object, ...]], columns: tuple[str, ...] = ("head", "relation", "tail")
) -> None:
    pd.DataFrame(rows, columns=list(columns)).to_csv(folder / "triples.csv", index=False)


def test_names_of_items_and_values_are_joined_and_others_become_entities(
    tmp_path: Path, catalog: Catalog, train: Interactions
) -> None:
    write(tmp_path, ROWS)
    quarantine = Quarantine()
    triples = read_triples(tmp_path, quarantine=quarantine)
    graph = build_graph(
        catalog, train, catalog.attributes.only("none"), {}, GraphConfig(price_bands=0), triples=triples
    )
    assert graph.vocabularies["entity"].ids == ("Berlin",)
    got = {
        edge_type: (listed.src.tolist(), listed.dst.tolist())
        for edge_type, listed in graph.forward.items()
        if edge_type[1].startswith("fact:")
    }
    assert got == {
        ("item", "fact:sequel_of", "item"): ([0], [1]),
        ("item", "fact:made_in", "entity"): ([1], [0]),
        ("item:brand", "fact:founded_in", "entity"): ([0], [0]),
        ("item", "fact:liked_by", "user"): ([2], [1]),
    }
    assert ("entity", "rev_fact:made_in", "item") in graph.edges
    assert quarantine.total == 0


def test_bad_rows_go_to_quarantine_with_their_rule(tmp_path: Path) -> None:
    rows = [
        ("i0", "near", "i1", 2),
        ("", "near", "i1", 1),
        ("i0", "", "i1", 1),
        ("i0", "near", "i0", 1),
        ("i0", "near", "i1", 1),
        ("i0", "far", "i1", -1),
        ("i0", "far", "i1", "much"),
    ]
    write(tmp_path, rows, ("head", "relation", "tail", "weight"))
    quarantine = Quarantine()
    triples = read_triples(tmp_path, quarantine=quarantine)
    assert triples is not None
    assert (triples.row.tolist(), triples.weight.tolist()) == ([0], [2.0])
    assert [(refusal.row, refusal.rule) for refusal in quarantine.refusals] == [
        (1, "head is missing"),
        (2, "relation is missing"),
        (3, "head and tail must differ"),
        (5, "weight must be a number > 0"),
        (6, "weight must be a number > 0"),
        (4, "the triple is there already"),
    ]


def test_an_ambiguous_name_is_refused_and_can_be_spelled_out(tmp_path: Path) -> None:
    names = {
        "user": Vocabulary(()),
        "item": Vocabulary(("i0",)),
        "item:genre": Vocabulary(("Blue",)),
        "item:color": Vocabulary(("Blue",)),
    }
    lines = [("i0", "is", "Blue"), ("i0", "is", "color:Blue"), ("i0", "is", "item:i0"), ("i0", "is", "genre:Red")]
    with (tmp_path / "triples.jsonl").open("w") as file:
        for head, relation, tail in lines:
            file.write(json.dumps({"head": head, "relation": relation, "tail": tail}) + "\n")
    quarantine = Quarantine()
    triples = read_triples(tmp_path, quarantine=quarantine)
    assert triples is not None
    entities, edges = triple_edges(triples, names, quarantine=quarantine)
    assert entities.ids == ("genre:Red",)  # no such value: a name like any other
    assert set(edges) == {("item", "fact:is", "item:color"), ("item", "fact:is", "entity")}
    assert [(refusal.row, refusal.value) for refusal in quarantine.refusals] == [(0, "'Blue'"), (2, "'i0'")]


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [("i0", "i1")], ("head", "tail"))
    with pytest.raises(InputError, match="must have the columns head, relation and tail, 'relation' is missing"):
        read_triples(tmp_path, quarantine=Quarantine())


def test_a_shop_without_the_table_has_no_facts(tmp_path: Path) -> None:
    assert read_triples(tmp_path, quarantine=Quarantine()) is None
