"""What a trained model is told of items and users beside the events: content, and values of attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from features.catalog import Attributes
from features.vectors.reduction import pca
from recsys.linear.scaling import powers, scaled
from recsys.linear.side import attribute_rows
from recsys.models.knowledge import Knowledge


@dataclass(frozen=True, eq=False)
class Facts:
    """Rows of items and users.

    Args:
        content: float32 [n_items, d]; principal directions of all modalities, rows of length 1 in the mean; 0 where
            nothing is known.
        items: [n_items, n_values]; attribute values by IDF, rows of length 1 or 0.
        users: [n_users, n_values]; 1 at each value.
        did: [n_users, kinds x n_items]; 1 at each item and type of other behavior.
    """

    content: NDArray[np.float32]
    items: sparse.csr_matrix
    users: sparse.csr_matrix
    did: sparse.csr_matrix

    @classmethod
    def none(cls, n_users: int, n_items: int) -> Facts:
        """Nothing but who is who."""
        of_items, of_users = (np.zeros((n, 0), dtype=np.float32) for n in (n_items, n_users))
        return cls(of_items, sparse.csr_matrix(of_items), sparse.csr_matrix(of_users), sparse.csr_matrix(of_users))

    @classmethod
    def of(cls, known: Knowledge, n_users: int, *, content_dim: int, min_owners: int) -> Facts:
        """What is known, reduced.

        Args:
            known: modalities, attributes and other behavior.
            n_users: users of the data set.
            content_dim: most directions of content that are kept.
            min_owners: fewest items that have an attribute value, or users, for it to count.
        """
        n_items = len(known.catalog)
        content = np.zeros((n_items, 0), dtype=np.float32)
        if known.modalities:
            whole = known.content()
            content = pca(whole, dim=min(content_dim, *whole.shape))(whole)
            length = np.linalg.norm(content, axis=1)
            content /= np.float32(length[length > 0].mean() if length.any() else 1.0)
        values = _owned(known.catalog.attributes, n_items, min_owners)
        idf = np.log(n_items / np.maximum(values.getnnz(axis=0), 1)).astype(np.float32)
        values = scaled(values, columns=idf)
        squares = np.asarray(values.multiply(values).sum(axis=1), dtype=np.float64).ravel()
        nothing = sparse.csr_matrix(np.zeros((n_users, 0), dtype=np.float32))
        did = sparse.csr_matrix(sparse.hstack([nothing, *known.did().values()]))
        users = _owned(known.user_attributes, n_users, min_owners)
        return cls(content, scaled(values, rows=powers(squares, -0.5)), users, did)

    def parts(self) -> list[NDArray[np.float32] | NDArray[np.int32]]:
        """Everything, for a fingerprint."""
        return [
            self.content,
            *(part for one in (self.items, self.users, self.did) for part in (one.indptr, one.indices, one.data)),
        ]


def _owned(attributes: Attributes, n: int, min_owners: int) -> sparse.csr_matrix:
    """A column a value that enough rows have, 1 at each: [n, n_values]."""
    rows = attribute_rows(attributes, n)
    return sparse.csr_matrix(rows[np.diff(rows.indptr) >= min_owners].T)


def thinned(values: sparse.csr_matrix, share: float, rng: np.random.Generator) -> sparse.csr_matrix:
    """A random share of the entries; nothing is drawn where there is no column."""
    if not values.shape[1]:
        return values
    kept = rng.random(values.nnz) < share
    rows = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))[kept]
    return sparse.csr_matrix((values.data[kept], (rows, values.indices[kept])), shape=values.shape)


def told(values: sparse.csr_matrix, table: torch.Tensor) -> torch.Tensor:
    """Sums of the vectors of each row's values: float32 [n, dim].

    Args:
        values: [n, n_values], with weights.
        table: float32 [n_values, dim]; a vector a value.
    """
    device = table.device
    place = torch.from_numpy(np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))).to(device)
    weight = torch.from_numpy(values.data.astype(np.float32)).to(device)[:, None]
    vectors = table[torch.from_numpy(values.indices.astype(np.int64)).to(device)] * weight
    return torch.zeros(values.shape[0], table.shape[1], device=device).index_add_(0, place, vectors)
