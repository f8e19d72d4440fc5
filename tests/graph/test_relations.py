from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.shop.reviews import Reviews
from features.vocabulary import Vocabulary
from graph.build import GraphConfig, build_graph
from graph.joint import join
from graph.knowledge_graph import KnowledgeGraph
from graph.models.kg_gnn import KGGNN, GNNConfig
from graph.neighbors import Neighbors
from graph.relations.behavior import behavior_edges
from graph.relations.company import MOST_MET, company
from graph.relations.sums import DAY_S, Fading, summed
from graph.relations.terms import learnable, term_edges

BARE = GraphConfig(price_bands=0)


def triples_of(graph: KnowledgeGraph, *edge_type: str) -> dict[tuple[str, str], float]:
    listed = graph.edges[edge_type]
    source, target = graph.vocabularies[edge_type[0]], graph.vocabularies[edge_type[2]]
    ends = zip(listed.src.tolist(), listed.dst.tolist(), listed.weight.tolist(), strict=True)
    return {(source[s], target[d]): w for s, d, w in ends}


def test_an_event_a_half_life_older_than_the_last_counts_half(train: Interactions) -> None:
    timed = replace(train, timestamp=1e9 + DAY_S * np.array([0.0, 3.0, 6.0, 6.0, 9.0]))
    edges = behavior_edges(timed, half_life_days=3)
    assert edges["user", "view", "item"].weight.tolist() == pytest.approx([1 / 8 + 1 / 4, 1 / 2])
    assert edges["user", "purchase", "item"].weight.tolist() == pytest.approx([5 / 2, 5])


def test_an_edge_fades_but_never_goes(train: Interactions) -> None:
    timed = replace(train, timestamp=np.array([1e9, 1e9, 1e9, 1e9, 1e9 + 1e8]))
    edges = behavior_edges(timed, half_life_days=1)
    assert len(edges["user", "view", "item"]) == 2
    assert 0 < edges["user", "view", "item"].weight.max() < 1e-30


def test_events_without_times_cannot_fade(catalog: Catalog, train: Interactions) -> None:
    with pytest.raises(InputError, match="half_life_days is 7, but the events carry no timestamp"):
        build_graph(catalog, train, Attributes.of([]), {}, GraphConfig(half_life_days=7))


def test_sums_moved_to_a_later_period_equal_sums_made_there() -> None:
    rng = np.random.default_rng(0)
    weight, time = rng.random(500), 1.6e9 + rng.random(500) * 90 * DAY_S
    key = rng.integers(0, 20, 500)
    fading = Fading(2.7 * DAY_S)
    early, late = fading.period(float(time.min())), fading.period(float(time.max()))
    _, there = summed(key, fading.at_period(weight, time, early))
    _, here = summed(key, fading.at_period(weight, time, late))
    assert np.array_equal(fading.moved(there, early, late), here)  # bit for bit


def test_only_the_named_types_of_events_become_relations(catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, GraphConfig(price_bands=0, events=("purchase",)))
    assert set(graph.forward) == {("user", "purchase", "item"), ("item", "has", "item:brand")}


def test_a_type_of_events_that_nobody_has_is_refused(catalog: Catalog, train: Interactions) -> None:
    config = GraphConfig(price_bands=0, events=("purchase", "purchse"))
    with pytest.raises(InputError, match=r"types that there are \(.*purchase.*\), got 'purchse'"):
        build_graph(catalog, train, Attributes.of([]), {}, config)


@pytest.fixture
def pathed(catalog: Catalog) -> Catalog:
    """i0 and i1 are boots (shoes), i2 is of shoes alone, i3 is a shirt; only shoes and boots are shared."""
    facts = [(0, "Shoes"), (0, "Shoes > Boots"), (1, "Shoes"), (1, "Shoes > Boots"), (2, "Shoes"), (3, "Shirts")]
    return replace(catalog, attributes=Attributes.of([(row, "category", value) for row, value in facts]))


def test_a_rare_value_weighs_more_by_its_idf(pathed: Catalog, train: Interactions) -> None:
    graph = build_graph(pathed, train, Attributes.of([]), {}, GraphConfig(price_bands=0, idf=True))
    weights = triples_of(graph, "item", "has", "item:category")
    boots, shoes = np.log1p(6 / 2), np.log1p(6 / 3)
    mean = (2 * boots + 3 * shoes) / 5
    assert weights["i0", "Shoes > Boots"] == pytest.approx(boots / mean)
    assert weights["i0", "Shoes"] == weights["i2", "Shoes"] == pytest.approx(shoes / mean)


def test_a_tree_joins_items_to_the_last_step_and_steps_to_the_one_above(pathed: Catalog, train: Interactions) -> None:
    graph = build_graph(pathed, train, Attributes.of([]), {}, GraphConfig(price_bands=0, trees=True))
    assert set(triples_of(graph, "item", "has", "item:category")) == {
        ("i0", "Shoes > Boots"),
        ("i1", "Shoes > Boots"),
        ("i2", "Shoes"),
    }
    kind = "item:category"
    assert triples_of(graph, kind, "under", kind) == {("Shoes > Boots", "Shoes"): 1.0}
    assert triples_of(graph, kind, "rev_under", kind) == {("Shoes", "Shoes > Boots"): 1.0}


def test_likeness_counts_as_far_as_both_ends_are_trusted(catalog: Catalog, train: Interactions) -> None:
    near = {"image": Neighbors(np.array([[1], [2], [3], [-1], [-1], [-1]]), np.full((6, 1), 0.8, dtype=np.float32))}
    trust = MatchScores(np.array([0.5, 0.5, np.nan, 0, 1, 1], dtype=np.float32))
    config = GraphConfig(price_bands=0, trusted=("image",))
    graph = build_graph(catalog, train, Attributes.of([]), near, config, trust=trust)
    # unknown trust counts in full; i2 and i3 are not joined, because i3 shows something else
    assert triples_of(graph, "item", "alike:image", "item") == pytest.approx({("i0", "i1"): 0.2, ("i1", "i2"): 0.4})
    with pytest.raises(ValueError, match="image neighbors shall be weighted by match scores, but none were given"):
        build_graph(catalog, train, Attributes.of([]), near, config)


def test_fused_neighbors_come_from_the_fused_content(catalog: Catalog, train: Interactions) -> None:
    content = np.zeros((6, 2), dtype=np.float32)
    content[[0, 1]], content[2] = [1, 0], [0.6, 0.8]
    config = GraphConfig(price_bands=0, look_alikes=("fused",), fused_neighbors=1)
    graph = build_graph(catalog, train, Attributes.of([]), {}, config, content=content)
    found = triples_of(graph, "item", "alike:fused", "item")
    assert found == pytest.approx({("i0", "i1"): 1.0, ("i1", "i0"): 1.0, ("i2", "i0"): 0.6})


def brute_company(met: np.ndarray, k: int, measure: str, shrinkage: float) -> dict[tuple[int, int], float]:
    n = int((met.sum(axis=1) > 0).sum())
    found: dict[tuple[int, int], float] = {}
    for i in range(met.shape[1]):
        row = []
        for j in range(met.shape[1]):
            both = float((met[:, i] * met[:, j]).sum())
            if i == j or not both:
                continue
            a, b = met[:, i].sum(), met[:, j].sum()
            value = both / np.sqrt(a * b) if measure == "cosine" else np.log(n * both / (a * b))
            value *= both / (both + shrinkage)
            if value > 0:
                row.append((-value, j))
        found |= {(i, j): -value for value, j in sorted(row)[:k]}
    return found


@pytest.mark.parametrize("measure", ["cosine", "pmi"])
def test_company_equals_a_loop_over_all_pairs(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.relations.company.BLOCK_PAIRS", 40)  # several blocks
    met = (np.random.default_rng(1).random((30, 12)) < 0.25).astype(np.float32)
    edges = company(sparse.csr_matrix(met), 3, measure=measure, shrinkage=2.0)  # type: ignore[arg-type]
    assert edges is not None
    got = dict(zip(zip(edges.src.tolist(), edges.dst.tolist(), strict=True), edges.weight.tolist(), strict=True))
    assert got == pytest.approx(brute_company(met, 3, measure, 2.0), rel=1e-5)
    some = company(sparse.csr_matrix(met), 3, measure=measure, shrinkage=2.0, rows=np.array([2, 7]))  # type: ignore[arg-type]
    assert some is not None
    assert some.dst.tolist() == edges.dst[np.isin(edges.src, [2, 7])].tolist()


def test_who_met_nearly_everything_joins_nothing() -> None:
    met = sparse.lil_matrix((2, MOST_MET + 1))
    met[0, :] = 1  # one more than the limit
    met[1, :2] = 1
    edges = company(sparse.csr_matrix(met), 5, measure="cosine", shrinkage=0)
    assert edges is not None
    assert list(zip(edges.src.tolist(), edges.dst.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_company_is_a_relation_an_event_type_and_one_of_users(catalog: Catalog, train: Interactions) -> None:
    events = replace(
        train,
        user_idx=np.array([0, 0, 1, 1, 2]),
        item_idx=np.array([0, 2, 0, 2, 5]),
        event_type=np.array(["view"] * 4 + ["purchase"], dtype=object),
    )
    config = GraphConfig(price_bands=0, together=3, like_minded=3, shrinkage=0)
    graph = build_graph(catalog, events, Attributes.of([]), {}, config)
    assert triples_of(graph, "item", "together:view", "item") == pytest.approx({("i0", "i2"): 1.0, ("i2", "i0"): 1.0})
    assert triples_of(graph, "user", "like_minded", "user") == pytest.approx({("u0", "u1"): 1.0, ("u1", "u0"): 1.0})
    assert ("item", "together:purchase", "item") not in graph.edges


@pytest.fixture
def reviews(catalog: Catalog) -> Reviews:
    texts = ["Warm, warm and soft", "soft but tight", "tight tight", "a warm surprise", "soft"]
    return Reviews(
        items=catalog.items,
        item_idx=np.array([0, 1, 2, 3, 4]),
        text=np.array(texts, dtype=object),
        rating=np.full(5, np.nan),
        timestamp=None,
        user=np.array(["u0", "u3", "", "stranger", "u1"], dtype=object),
    )


def test_the_most_telling_words_of_reviews_become_nodes(reviews: Reviews) -> None:
    found = term_edges(reviews, 1, min_shared=2)
    assert found is not None
    names, edges = found
    told = {(int(s), names[d]): w for s, d, w in zip(edges.src, edges.dst.tolist(), edges.weight.tolist(), strict=True)}
    # "soft" is in 3 of 5 items' reviews, more than half, so it says nothing; "surprise" is said of one item
    assert set(told) == {(0, "warm"), (1, "tight"), (2, "tight"), (3, "warm")}
    twice, once = (1 + np.log(2)) * np.log(5 / 2), np.log(5 / 2)
    assert told[0, "warm"] / told[3, "warm"] == pytest.approx(twice / once)


def test_reviews_of_held_out_pairs_are_not_read(reviews: Reviews, train: Interactions) -> None:
    kept = learnable(reviews, train)  # (u0, i0) was trained on; (u3, i1) and (u1, i4) were not
    assert kept.item_idx.tolist() == [0, 2, 3]
    timed = replace(reviews, timestamp=np.array([9.0, 9.0, 9.0, 1.0, 9.0]))
    assert learnable(timed, replace(train, timestamp=np.full(5, 5.0))).item_idx.tolist() == [0, 3]


def test_values_reach_a_newcomer_by_their_weight(pathed: Catalog, train: Interactions) -> None:
    graph = build_graph(pathed, train, Attributes.of([]), {}, GraphConfig(price_bands=0, idf=True))
    joint = join(graph, item_facts=1.0, user_facts=0, look_alikes=0)
    values = joint.rows["item:category"]
    weight = triples_of(graph, "item", "has", "item:category")
    # i2 has one value, "Shoes": what its edge carries is the reach of the value
    i2, shoes = joint.rows["item"].start + 2, values.start + graph.vocabularies["item:category"].idx("Shoes")
    assert joint.fact_reach[shoes] == pytest.approx(joint.knowledge[i2, shoes])
    assert joint.fact_reach[shoes] == pytest.approx(weight["i2", "Shoes"] / np.sqrt(3))


@pytest.mark.parametrize(
    ("relation", "config"),
    [
        (("item", "together:view", "item"), GraphConfig(price_bands=0, together=5)),
        (("user", "like_minded", "user"), GraphConfig(price_bands=0, like_minded=5)),
        (("item:category", "under", "item:category"), GraphConfig(price_bands=0, trees=True)),
    ],
)
def test_messages_run_along_every_new_relation_in_both_directions(
    relation: tuple[str, str, str], config: GraphConfig, pathed: Catalog, train: Interactions
) -> None:
    events = replace(
        train,
        user_idx=np.array([0, 0, 1, 1, 2]),
        item_idx=np.array([0, 2, 0, 2, 5]),
        event_type=np.array(["view"] * 5, dtype=object),
    )
    full = build_graph(pathed, events, Attributes.of([]), {}, config)
    ours = full.edges[relation]
    rest = {edge_type: listed for edge_type, listed in full.forward.items() if edge_type == relation}
    alone = KnowledgeGraph.of(full.vocabularies, rest)  # nothing but this relation passes messages
    joint = join(alone, item_facts=1, user_facts=1, look_alikes=1)
    both = joint.behavior + joint.knowledge
    source, target = joint.rows[relation[0]].start + int(ours.src[0]), joint.rows[relation[2]].start + int(ours.dst[0])
    assert both[source, target] == both[target, source] > 0
    model = KGGNN(full, np.eye(6, 4, dtype=np.float32), GNNConfig(dim=4, layers=1), seed=0)
    silent = KGGNN(full, np.eye(6, 4, dtype=np.float32), GNNConfig(dim=4, layers=1, together=0, links=0), seed=0)
    assert any(not np.allclose(a.detach(), b.detach()) for a, b in zip(model()[:2], silent()[:2], strict=True)) or (
        relation[1] == "under"  # one layer does not carry it on to an item
    )


def test_an_entity_does_not_stand_among_the_values_of_attributes(catalog: Catalog, train: Interactions) -> None:
    graph = build_graph(catalog, train, Attributes.of([]), {}, BARE)
    withal = replace(
        graph,
        n_nodes={"entity": 1, **graph.n_nodes},
        vocabularies={"entity": Vocabulary(("Berlin",)), **graph.vocabularies},
    )
    joint = join(withal, item_facts=1, user_facts=1, look_alikes=1)
    assert joint.rows["item:brand"].start == joint.rows["item"].stop  # where `KGGNN.messages` looks for values
    assert joint.rows["entity"].start >= joint.rows["item:brand"].stop
