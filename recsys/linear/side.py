"""Side information as further rows under the matrix of users and items, and as further columns beside it.

A row says which items belong together, whoever says so: a user who has them, a word-for-word description they share, a
brand. So whatever a closed form learns from users it learns from content and attributes in the same step, and an item
that no user has is still tied to the others. (The rows are Ning & Karypis' (2012) side information; here a content
row holds an item and its nearest neighbors, which stays sparse where the vectors are dense.)

A column says what users are: to have the value "gender: f" is then like having one more item, which says something of
all the others, and the more so, the less a user's own items say. So are the items that users viewed beside those they
bought: a column an item and type of event, since what a view says of other items, and of the same one, is not what a
purchase says.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from features.catalog import Attributes
from graph.neighbors import Neighbors


def content_rows(neighbors: Neighbors) -> sparse.csr_matrix:
    """A row an item: 1 at the item, and the cosine at each of its neighbors where it is above 0.

    Returns:
        float32 [n_items, n_items]; the row of an item without content is empty.
    """
    n_items, k = neighbors.idx.shape
    there = (neighbors.idx >= 0) & (neighbors.score > 0)
    row, column = np.repeat(np.arange(n_items), k)[there.ravel()], neighbors.idx[there]
    own = np.unique(row)
    shape = (n_items, n_items)
    return sparse.csr_matrix(
        (
            np.concatenate([neighbors.score[there], np.ones(len(own), dtype=np.float32)]),
            (np.concatenate([row, own]), np.concatenate([column, own])),
        ),
        shape=shape,
        dtype=np.float32,
    )


def attribute_rows(attributes: Attributes, n_items: int) -> sparse.csr_matrix:
    """A row an attribute value that two items or more have, 1 at each: float32 [n_values, n_items]."""
    if len(attributes) == 0:
        return sparse.csr_matrix(np.zeros((0, n_items), dtype=np.float32))
    number: dict[tuple[str, str], int] = {}
    facts = zip(attributes.name.tolist(), attributes.value.tolist(), strict=True)
    value = np.array([number.setdefault(fact, len(number)) for fact in facts], dtype=np.int64)
    shape = (len(number), n_items)
    rows = sparse.csr_matrix((np.ones(len(value), dtype=np.float32), (value, attributes.row_idx)), shape=shape)
    rows.data[:] = 1.0
    return sparse.csr_matrix(rows[np.diff(rows.indptr) > 1])


def with_columns(
    user_items: sparse.csr_matrix, columns: Mapping[str, sparse.csr_matrix], weights: Mapping[str, float]
) -> sparse.csr_matrix:
    """The matrix with each kind of further columns to its right, times the kind's weight; one of weight 0 is left out.

    Args:
        user_items: [n_users, n_items].
        columns: name → [n_users, n].
        weights: name → weight; columns without one are left out.

    Returns:
        float32 [n_users, n_items + ...]; the matrix itself where nothing is added.
    """
    beside = [weights[name] * block for name, block in columns.items() if weights.get(name, 0.0) > 0]
    if not beside:
        return user_items
    return sparse.csr_matrix(sparse.hstack([user_items, *beside], format="csr", dtype=np.float32))


def with_side(
    matrix: sparse.csr_matrix, sides: Mapping[str, sparse.csr_matrix], weights: Mapping[str, float]
) -> sparse.csr_matrix:
    """The matrix with each side's rows below it, times the side's weight; a side of weight 0 is left out.

    Args:
        matrix: [n_users, n_items], or wider; there the side rows have nothing.
        sides: name → [n, n_items].
        weights: name → weight; a side without one is left out.

    Returns:
        float32 [n_users + ..., width of the matrix].
    """
    width = matrix.shape[1]
    below = [
        sparse.csr_matrix((weights[name] * rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], width))
        for name, rows in sides.items()
        if weights.get(name, 0.0) > 0 and rows.shape[0]
    ]
    return sparse.csr_matrix(sparse.vstack([matrix, *below], format="csr", dtype=np.float32))
