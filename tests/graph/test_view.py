from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from features.errors import InputError
from features.vocabulary import Vocabulary
from graph.build import GraphConfig
from graph.export import export_graphml, export_hetero, export_ntriples, export_parquet, load_hetero
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.paths import telling_paths
from graph.picture import neighborhood_svg
from graph.statistics import statistics
from graph.store.write import write_graph
from graph.view import View

BUYS, HAS, ALIKE = ("user", "buys", "item"), ("item", "has", "item:brand"), ("item", "alike:text", "item")


def edge_list(*edges: tuple[int, int, float]) -> EdgeList:
    columns = list(zip(*edges, strict=True))
    return EdgeList(
        np.array(columns[0], dtype=np.int64), np.array(columns[1], dtype=np.int64), np.array(columns[2], np.float32)
    )


@pytest.fixture
def graph() -> KnowledgeGraph:
    """u0 bought i0, whose brand i3 has too (with i4), and i1, which is like i2 and looked at by everybody."""
    names = {
        "user": Vocabulary(("u0", "u1", "u2", "x")),
        "item": Vocabulary(("i0", "i1", "i2", "i3", "i4", "x")),
        "item:brand": Vocabulary(('Ac"me\n& Söhne <1>', "Bolt")),
    }
    return KnowledgeGraph.of(
        names,
        {
            BUYS: edge_list((0, 0, 1), (0, 1, 2), (1, 1, 1), (2, 1, 1)),
            HAS: edge_list((0, 0, 1), (3, 0, 1), (4, 0, 1)),
            ALIKE: edge_list((1, 2, 0.5), (2, 1, 0.25)),
        },
    )


@pytest.fixture
def view(graph: KnowledgeGraph) -> View:
    return View.of(graph, {"item": ["Mug", "Bowl", "Dish", "Jug", "Pan", ""]})


def test_nodes_are_found_by_id_by_type_and_name_and_by_name_alone(view: View) -> None:
    assert view.find("i2") == ("item", 2)
    assert view.find("user/u1") == ("user", 1)
    assert view.find("Bolt") == view.find("item:brand/Bolt") == ("item:brand", 1)
    assert view.find("x") == ("item", 5)  # an item's id wins
    assert view.find("user/x") == ("user", 3)
    with pytest.raises(InputError, match="no node is called 'nobody'"):
        view.find("nobody")


def test_neighbors_stand_by_relation_the_heaviest_first_and_mutual_ones_once(view: View) -> None:
    got = [(one.edge_type[1], view.title(one.node), one.weight, one.outward) for one in view.neighbors(("item", 1))]
    assert got == [
        ("buys", "u0", 2.0, False),
        ("buys", "u1", 1.0, False),
        ("buys", "u2", 1.0, False),
        ("alike:text", "Dish", 0.5, True),
    ]


def test_a_saved_graph_looks_the_same(tmp_path: Path, graph: KnowledgeGraph, view: View) -> None:
    without = KnowledgeGraph.of(graph.vocabularies, {t: e for t, e in graph.forward.items() if t != BUYS})
    stored = write_graph(tmp_path / "g", without, events=[], config=GraphConfig(), labels=view.labels)
    ours, theirs = View.of_stored(stored), View.of(without, view.labels)
    assert statistics(ours) == statistics(theirs)
    for row in range(6):
        assert ours.neighbors(("item", row)) == theirs.neighbors(("item", row))


def test_the_most_telling_path_avoids_hubs(view: View) -> None:
    (best, *_) = telling_paths(view, ("user", 0), ("item", 3), 3)
    assert best.nodes == (("user", 0), ("item", 0), ("item:brand", 0), ("item", 3))
    assert [(step.edge_type[1], step.forward) for step in best.steps] == [
        ("buys", True),
        ("has", True),
        ("has", False),
    ]
    # u0 bought for 3 in all, i0 was bought for 1; the brand has three items, each of them one brand
    assert best.strength == pytest.approx(1 / math.sqrt(3 * 1) * 1 / math.sqrt(3) * 1 / math.sqrt(3))


def test_paths_say_what_else_connects_two_nodes_unless_asked_for_the_edge(view: View) -> None:
    assert [len(path.steps) for path in telling_paths(view, ("user", 0), ("item", 1), 5)] == []
    (only,) = telling_paths(view, ("user", 0), ("item", 1), 5, direct=True)
    assert only.nodes == (("user", 0), ("item", 1))
    assert telling_paths(view, ("user", 0), ("item", 5), 5) == []  # nothing leads there


def test_statistics_count_nodes_edges_and_degrees(view: View) -> None:
    told = statistics(view)
    assert told["nodes"]["user"] == {"nodes": 4, "isolated": 1}
    assert told["nodes"]["item"] == {"nodes": 6, "isolated": 1}
    assert told["edges"]["user -buys-> item"] == {
        "edges": 4,
        "mean_out": 1.0,
        "max_out": 2,
        "mean_in": pytest.approx(4 / 6),
        "max_in": 3,
        "mean_weight": 1.25,
    }


def test_hetero_data_comes_back_from_files(tmp_path: Path, graph: KnowledgeGraph) -> None:
    export_hetero(graph, tmp_path)
    data, expected = load_hetero(tmp_path), graph.to_hetero()
    assert data.edge_types == expected.edge_types
    for edge_type in expected.edge_types:
        assert data[edge_type].edge_index.equal(expected[edge_type].edge_index)
        assert data[edge_type].edge_weight.equal(expected[edge_type].edge_weight)
    assert {kind: data[kind].num_nodes for kind in data.node_types} == graph.n_nodes
    assert data["item"].names == list(graph.vocabularies["item"])
    (tmp_path / "graph.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        load_hetero(tmp_path)


def test_tables_of_edges_hold_names_and_weights(tmp_path: Path, view: View) -> None:
    nodes, *edges = export_parquet(view, tmp_path)
    assert len(pd.read_parquet(nodes)) == 4 + 6 + 2
    table = pd.read_parquet(edges[0])
    assert list(zip(table["source"], table["relation"], table["target"], table["weight"], strict=True)) == [
        ("u0", "buys", "i0", 1.0),
        ("u0", "buys", "i1", 2.0),
        ("u1", "buys", "i1", 1.0),
        ("u2", "buys", "i1", 1.0),
    ]


def test_graphml_is_xml_whatever_the_names(tmp_path: Path, graph: KnowledgeGraph) -> None:
    view = View.of(graph, {"item": ["a\x00b", "<&>", "", "", "", ""]})
    (file,) = export_graphml(view, tmp_path / "g.graphml")
    root = ElementTree.parse(file).getroot()  # noqa: S314 - our own file
    space = {"g": "http://graphml.graphdrawing.org/xmlns"}
    assert len(root.findall(".//g:node", space)) == 12
    assert len(root.findall(".//g:edge", space)) == 9
    labels = [one.text for one in root.findall(".//g:node/g:data[@key='label']", space)]
    assert "a\ufffdb" in labels
    assert "<&>" in labels
    ids = {one.get("id") for one in root.findall(".//g:node", space)}
    assert {one.get("target") for one in root.findall(".//g:edge", space)} <= ids


def test_ntriples_escape_names_and_tell_weights_when_asked(tmp_path: Path, view: View) -> None:
    (file,) = export_ntriples(view, tmp_path / "g.nt", weights=True)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 * 12 + 6 * 9
    assert "<urn:recsys:user/u0> <urn:recsys:relation/buys> <urn:recsys:item/i0> ." in lines
    brand = "<urn:recsys:item%3Abrand/Ac%22me%0A%26%20S%C3%B6hne%20%3C1%3E>"
    label = '"Ac\\"me\\n& Söhne <1>"'
    assert f"{brand} <http://www.w3.org/2000/01/rdf-schema#label> {label} ." in lines
    assert '_:e1 <urn:recsys:weight> "2"^^<http://www.w3.org/2001/XMLSchema#double> .' in lines


def test_the_picture_shows_names_weights_and_thumbnails(graph: KnowledgeGraph) -> None:
    view = View.of(graph, {"item": ["<Mug>", "Bowl", "Dish " * 30, "Jug", "Pan", ""]})
    red = Image.new("RGB", (30, 40), "red")
    svg = neighborhood_svg(view, ("item", 1), lambda row: red if row == 2 else None, most=2)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own text
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Bowl", "item i1", "user (buys)", "alike · text (item)", "u0", "2", "0.5", "and 1 more"} <= set(texts)
    assert max(len(text) for text in texts) <= 38
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == 1
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 3
    lonely = neighborhood_svg(view, ("item", 5), lambda _: None)
    assert "item x" in lonely


def test_a_picture_shows_the_same_node_twice_for_no_relation(view: View) -> None:
    svg = neighborhood_svg(view, ("item", 1), lambda _: None)
    assert svg.count(">Dish<") == 1
