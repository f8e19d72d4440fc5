"""From a shop's tables to its knowledge graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.section import Section
from features.shop.review_statistics import mean_ratings
from features.shop.reviews import Reviews
from features.vocabulary import Vocabulary
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.neighbors import Neighbors, top_neighbors
from graph.price_bands import PRICE, price_bands
from graph.relations.alike import alike_edges
from graph.relations.behavior import behavior_edges
from graph.relations.company import Measure, company
from graph.relations.facts import attribute_edges
from graph.relations.terms import term_edges
from graph.relations.triples import Triples, triple_edges
from graph.schema import (
    ENTITY,
    ITEM,
    RATING,
    REVIEWS,
    TERM,
    USER,
    EdgeType,
    alike,
    attribute_type,
    beside,
    has_attribute,
    like_minded,
    mentions,
    together,
    under,
)

Likeness = Literal["image", "text", "audio", "fused", "reviews"]
"""In what items may be alike."""


class GraphConfig(Section):
    """What becomes a node and an edge."""

    events: tuple[str, ...] | None = None
    """Types of events that become relations between users and items; unset: all."""
    half_life_days: PositiveFloat | None = None
    """An event that is so much older than the last training event counts half; unset: all count alike."""
    item_attributes: bool = True
    """Whether attribute values of items become nodes."""
    user_attributes: bool = True
    """Whether attribute values of users become nodes."""
    min_shared: PositiveInt = 2
    """An attribute value becomes a node where at least so many items (or users) have it; one owner connects nothing."""
    price_bands: NonNegativeInt = 10
    """Prices become an attribute of so many equally filled bands; 0 leaves prices out."""
    idf: bool = False
    """Whether a rare attribute value weighs more than a common one, by log(1 + owners / owners of the value)."""
    trees: bool = False
    """Whether an item is joined to the last step of a path ("A > B > C") alone and each step to the one above it;
    otherwise to every step. (Items that join later still hear from every step.)"""
    look_alikes: tuple[Likeness, ...] = ("image", "text")
    """Kinds of likeness that become relations between items: "image", "text", "audio" (of benchmark data that has it),
    "fused" for picture and words as one, and "reviews" for what buyers wrote."""
    fused_neighbors: PositiveInt = 10
    """Neighbors an item has by fused content."""
    review_neighbors: PositiveInt = 10
    """Neighbors an item has by its reviews."""
    trusted: tuple[Likeness, ...] = ()
    """Kinds of likeness whose edges are weighted by the match scores of both ends, such as "image" and "fused"."""
    together: NonNegativeInt = 0
    """Items each item is joined to by shared users, one relation an event type (co-view, co-purchase); 0 for none."""
    like_minded: NonNegativeInt = 0
    """Users each user is joined to by shared items; 0 for none."""
    measure: Measure = "cosine"
    """How shared users (or items) are weighed; see `graph/relations/company.py`."""
    shrinkage: NonNegativeFloat = 5.0
    """A pair with so many shared users (or items) counts half."""
    review_terms: NonNegativeInt = 0
    """Words of its reviews that an item is joined to; 0 for none."""
    rating_bands: NonNegativeInt = 0
    """Mean ratings, as the reviews have them, become an attribute of so many equally filled bands; 0 for none."""
    triples: bool = True
    """Whether the facts of the shop's triples.* table become edges."""

    @property
    def reads_reviews(self) -> bool:
        """Whether anything of the graph is made of reviews."""
        return bool(self.review_terms or self.rating_bands or REVIEWS in self.look_alikes)

    @property
    def timeless(self) -> tuple[str, ...]:
        """Settings in force that go by all events or reviews at once, so that an earlier moment has other edges."""
        asked = {name: getattr(self, name) for name in ("half_life_days", "together", "like_minded")}
        asked |= {name: getattr(self, name) for name in ("review_terms", "rating_bands")}
        return tuple(name for name, value in {**asked, "look_alikes": REVIEWS in self.look_alikes}.items() if value)


def build_graph(
    catalog: Catalog,
    train: Interactions,
    user_attributes: Attributes,
    item_neighbors: dict[str, Neighbors],
    config: GraphConfig,
    *,
    trust: MatchScores | None = None,
    content: NDArray[np.float32] | None = None,
    reviews: Reviews | None = None,
    triples: Triples | None = None,
    quarantine: Quarantine | None = None,
    other_behavior: Interactions | None = None,
) -> KnowledgeGraph:
    """Connect users, items, attribute values and look-alikes; only training events become edges.

    Args:
        catalog: every item, with its attributes.
        train: the events to learn from; several events of one type between a user and an item become one edge of
            their summed weight.
        user_attributes: facts of the users of `train.users`.
        item_neighbors: content neighbors by kind of likeness, such as "text"; scores that are not positive make
            no edge.
        config: what becomes a node and an edge.
        trust: match scores, needed by `config.trusted`.
        content: fused vectors, float32 [n_items, d], needed where `config.look_alikes` has "fused" and
            `item_neighbors` has not.
        reviews: those that may be read; see `graph.relations.terms.learnable`.
        triples: facts from outside.
        quarantine: takes facts that cannot be joined; they are left out either way.
        other_behavior: what the users did besides, which is not to be predicted; relations of their own.

    Raises:
        ValueError: the tables disagree about items, something that the configuration needs was not given, or a rule
            of the graph is broken (`KnowledgeGraph.validate`).
        InputError: events shall fade with time but carry no times, no event is of a type that was named, or ratings
            shall become an attribute of a name that the items have already.
    """
    if train.items != catalog.items:
        raise ValueError(
            f"events and catalog must share one item vocabulary, they have {len(train.items)} and {len(catalog.items)}"
        )
    vocabularies = {USER: train.users, ITEM: catalog.items}
    edges: dict[EdgeType, EdgeList] = {}
    wanted = train if config.events is None else _of_types(train, config.events)
    edges |= behavior_edges(wanted, half_life_days=config.half_life_days)
    if other_behavior is not None:
        edges |= behavior_edges(other_behavior, half_life_days=config.half_life_days, relation=beside)
    _join_attributes(vocabularies, edges, catalog, user_attributes, config, reviews=reviews)
    edges |= _look_alikes(len(catalog), item_neighbors, config, trust, content)
    edges |= company_edges(wanted, config)
    if config.review_terms and reviews is not None:
        found = term_edges(reviews, config.review_terms, min_shared=config.min_shared)
        if found is not None:
            vocabularies[TERM], edges[mentions()] = found
    if config.triples and triples is not None:
        entities, facts = triple_edges(triples, vocabularies, quarantine=quarantine or Quarantine())
        if len(entities):
            vocabularies[ENTITY] = entities
        edges |= facts
    return KnowledgeGraph.of(vocabularies, edges)


def company_edges(train: Interactions, config: GraphConfig) -> dict[EdgeType, EdgeList]:
    """Items that the same users met, by type of event, and users who met the same items."""
    if not (config.together or config.like_minded):
        return {}
    types = sorted(set(train.event_type.tolist()))
    return company_of({name: train.where(train.event_type == name).matrix() for name in types}, config)


def company_of(met: Mapping[str, sparse.csr_matrix], config: GraphConfig) -> dict[EdgeType, EdgeList]:
    """As `company_edges`, from who met what by type of event, each [n_users, n_items]."""
    found: dict[EdgeType, EdgeList | None] = {}
    if config.together:
        for event_type, users in met.items():
            found[together(event_type)] = company(
                users, config.together, measure=config.measure, shrinkage=config.shrinkage
            )
    if config.like_minded and met:
        anything = sparse.csr_matrix(reduce(add, met.values()).T)
        found[like_minded()] = company(anything, config.like_minded, measure=config.measure, shrinkage=config.shrinkage)
    return {edge_type: listed for edge_type, listed in found.items() if listed is not None}


def _of_types(train: Interactions, types: tuple[str, ...]) -> Interactions:
    """The events of some types.

    Raises:
        InputError: a type has no event, which is how a misspelled one shows.
    """
    kinds = train.event_type.astype(str)
    for kind in types:
        if len(kinds) and not (kinds == kind).any():
            raise InputError(f"events must be of types that there are ({', '.join(sorted(set(kinds)))}), got {kind!r}")
    return train.where(np.isin(kinds, types))


def _join_attributes(
    vocabularies: dict[str, Vocabulary],
    edges: dict[EdgeType, EdgeList],
    catalog: Catalog,
    user_attributes: Attributes,
    config: GraphConfig,
    *,
    reviews: Reviews | None,
) -> None:
    """Add the nodes and edges of every attribute."""
    facts: list[tuple[str, str, NDArray[np.int64], NDArray[np.object_]]] = [
        (owner, name, attributes.only(name).row_idx, attributes.only(name).value)
        for owner, attributes, wanted in (
            (ITEM, catalog.attributes, config.item_attributes),
            (USER, user_attributes, config.user_attributes),
        )
        if wanted
        for name in attributes.names()
    ]
    if config.price_bands:
        facts.append((ITEM, PRICE, *price_bands(catalog.price, config.price_bands)))
    if config.rating_bands and reviews is not None:
        if any((owner, name) == (ITEM, RATING) for owner, name, _, _ in facts):
            raise InputError(
                f"graph.rating_bands must be 0 where items have an attribute {RATING!r} of their own, as the bands "
                f"are called, got {config.rating_bands}"
            )
        facts.append((ITEM, RATING, *price_bands(mean_ratings(reviews), config.rating_bands)))
    for owner, name, rows, values in facts:
        shared = attribute_edges(
            rows,
            values,
            n_owners=len(vocabularies[owner]),
            min_shared=config.min_shared,
            idf=config.idf,
            trees=config.trees,
        )
        if shared is None:
            continue
        kind = attribute_type(owner, name)
        vocabularies[kind], edges[has_attribute(owner, name)] = shared.names, shared.has
        if shared.under is not None:
            edges[under(kind)] = shared.under


def _look_alikes(
    n_items: int,
    item_neighbors: dict[str, Neighbors],
    config: GraphConfig,
    trust: MatchScores | None,
    content: NDArray[np.float32] | None,
) -> dict[EdgeType, EdgeList]:
    """Edges of each kind of likeness that is wanted and there."""
    kinds = {kind: near for kind, near in item_neighbors.items() if kind in config.look_alikes}
    if "fused" in config.look_alikes and "fused" not in kinds and content is not None:
        kinds["fused"] = top_neighbors(content, config.fused_neighbors, mask=np.asarray(content.any(axis=1)))
    found: dict[EdgeType, EdgeList] = {}
    for kind, near in sorted(kinds.items()):
        if len(near) != n_items:
            raise ValueError(f"{kind} neighbors must have a row an item ({n_items}), they have {len(near)}")
        if kind in config.trusted and trust is None:
            raise ValueError(f"{kind} neighbors shall be weighted by match scores, but none were given")
        listed = alike_edges(near, trust if kind in config.trusted else None)
        if listed is not None:
            found[alike(kind)] = listed
    return found
