"""How node and edge types are named; no other module spells one.

Nodes: "user", "item", and one type an attribute, "item:brand" or "user:age". Edges are triples
(source type, relation, target type):

    ("user", "purchase", "item")          behavior, one relation an event type
    ("item", "has", "item:brand")         an item's attribute value; ("user", "has", "user:age") a user's
    ("item", "alike:text", "item")        content neighbors, one relation a kind of likeness

Each has a reverse, whose relation is prefixed by "rev_": ("item", "rev_purchase", "user").
"""

from __future__ import annotations

USER = "user"
ITEM = "item"
HAS = "has"
ALIKE = "alike:"
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


def has_attribute(owner: str, name: str) -> EdgeType:
    """Edges from users or items to the values of one attribute."""
    return (owner, HAS, attribute_type(owner, name))


def alike(kind: str) -> EdgeType:
    """Edges from each item to those most like it, by one kind of likeness."""
    return (ITEM, f"{ALIKE}{kind}", ITEM)


def is_reverse(edge_type: EdgeType) -> bool:
    """Whether a triple is the reverse of another."""
    return edge_type[1].startswith(REVERSE)


def reverse(edge_type: EdgeType) -> EdgeType:
    """The triple in the other direction; the reverse of a reverse is the original."""
    source, relation, target = edge_type
    return (target, relation.removeprefix(REVERSE) if is_reverse(edge_type) else REVERSE + relation, source)


def spell(edge_type: EdgeType) -> str:
    """A triple as people read it, such as "user -purchase-> item"."""
    source, relation, target = edge_type
    return f"{source} -{relation}-> {target}"
