"""How node and edge types are named; no other module spells one.

Nodes: "user", "item", one type an attribute ("item:brand" or "user:age"), "term" (a word of the reviews) and "entity"
(whatever else an outside table of facts tells of). Edges are triples (source type, relation, target type):

    ("user", "purchase", "item")                     behavior, one relation an event type
    ("user", "beside:view", "item")                  behavior beside what is to be predicted, likewise
    ("item", "has", "item:brand")                    an item's attribute value; ("user", "has", "user:age") a user's
    ("item:category", "under", "item:category")      a step of a path and the step above it
    ("item", "alike:text", "item")                   content neighbors, one relation a kind of likeness
    ("item", "together:purchase", "item")            items that the same users met, one relation an event type
    ("user", "like_minded", "user")                  users who met the same items
    ("item", "mentions", "term")                     words of an item's reviews
    ("item", "fact:directed_by", "entity")           a fact from outside, between any two types

Each has a reverse, whose relation is prefixed by "rev_": ("item", "rev_purchase", "user").
"""

from __future__ import annotations

USER = "user"
ITEM = "item"
BESIDE = "beside:"
HAS = "has"
ALIKE = "alike:"
REVIEWS = "reviews"
"""The likeness of items by what buyers wrote."""
RATING = "rating"
"""The attribute made of the items' mean ratings."""
TOGETHER = "together:"
LIKE_MINDED = "like_minded"
UNDER = "under"
MENTIONS = "mentions"
FACT = "fact:"
TERM = "term"
ENTITY = "entity"
REVERSE = "rev_"

EdgeType = tuple[str, str, str]
"""(source node type, relation, target node type)."""


def attribute_type(owner: str, name: str) -> str:
    """Node type of the values of an attribute of users or items."""
    return f"{owner}:{name}"


def is_item_attribute(kind: str) -> bool:
    """Whether a node type is that of the values of one of the items' attributes."""
    return kind.startswith(f"{ITEM}:")


def behavior(event_type: str) -> EdgeType:
    """Edges from users to the items of one type of event."""
    return (USER, event_type, ITEM)


def beside(event_type: str) -> EdgeType:
    """Edges from users to the items of one type of event that is told beside those that are to be predicted."""
    return (USER, f"{BESIDE}{event_type}", ITEM)


def has_attribute(owner: str, name: str) -> EdgeType:
    """Edges from users or items to the values of one attribute."""
    return (owner, HAS, attribute_type(owner, name))


def alike(kind: str) -> EdgeType:
    """Edges from each item to those most like it, by one kind of likeness."""
    return (ITEM, f"{ALIKE}{kind}", ITEM)


def together(event_type: str) -> EdgeType:
    """Edges from each item to those that the same users met, by one type of event."""
    return (ITEM, f"{TOGETHER}{event_type}", ITEM)


def like_minded() -> EdgeType:
    """Edges from each user to those who met the same items."""
    return (USER, LIKE_MINDED, USER)


def under(kind: str) -> EdgeType:
    """Edges from each step of a path to the step above it; `kind` is the node type of the attribute."""
    return (kind, UNDER, kind)


def mentions() -> EdgeType:
    """Edges from items to words of their reviews."""
    return (ITEM, MENTIONS, TERM)


def fact(source: str, relation: str, target: str) -> EdgeType:
    """Edges of one relation of an outside table of facts."""
    return (source, f"{FACT}{relation}", target)


def is_behavior(edge_type: EdgeType) -> bool:
    """Whether edges are events of users with items, of the kinds that are to be predicted."""
    return (edge_type[0], edge_type[2]) == (USER, ITEM) and not edge_type[1].startswith((BESIDE, FACT))


def is_company(edge_type: EdgeType) -> bool:
    """Whether edges tell who met the same: items by their users, users by their items."""
    return edge_type[1].startswith(TOGETHER) or edge_type[1] == LIKE_MINDED


def is_timeless(edge_type: EdgeType) -> bool:
    """Whether edges sum up events or reviews, or are the reverse of such: later ones say as much as earlier ones.

    An attribute of items that is called `RATING` is taken for the reviews' mean: a table's own is mostly that, too.
    """
    one_way = reverse(edge_type) if is_reverse(edge_type) else edge_type
    of_reviews = (mentions(), alike(REVIEWS), has_attribute(ITEM, RATING))
    return is_company(one_way) or one_way[1].startswith(BESIDE) or one_way in of_reviews


def is_mutual(edge_type: EdgeType) -> bool:
    """Whether an edge says the same of both its ends, though only one of them may list the other."""
    return is_company(edge_type) or edge_type[1].startswith(ALIKE)


def is_reverse(edge_type: EdgeType) -> bool:
    """Whether a triple is the reverse of another."""
    return edge_type[1].startswith(REVERSE)


def reverse(edge_type: EdgeType) -> EdgeType:
    """The triple in the other direction; the reverse of a reverse is the original."""
    source, relation, target = edge_type
    return (target, relation.removeprefix(REVERSE) if is_reverse(edge_type) else REVERSE + relation, source)


def arrow(edge_type: EdgeType, *, outward: bool) -> str:
    """A relation as seen from one of its ends: "-purchase->", "<-purchase-", or "-alike:text-" where it is mutual."""
    relation = edge_type[1]
    if is_mutual(edge_type):
        return f"-{relation}-"
    return f"-{relation}->" if outward else f"<-{relation}-"


def spell(edge_type: EdgeType) -> str:
    """A triple as people read it, such as "user -purchase-> item"."""
    source, relation, target = edge_type
    return f"{source} -{relation}-> {target}"
