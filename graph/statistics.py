"""How large a graph is and how its edges are spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.schema import spell
from graph.view import View


def statistics(view: View) -> dict[str, Any]:
    """Counts for logs and reports.

    Returns:
        "nodes": type -> {"nodes", "isolated"} (isolated: without an edge of any relation); "edges": relation ->
        {"edges", "mean_out", "max_out" (per node of the source type), "mean_in", "max_in", "mean_weight"}; means of
        nothing are 0.
    """
    touched = {kind: np.zeros(len(names), dtype=bool) for kind, names in view.vocabularies.items()}
    edges: dict[str, dict[str, float]] = {}
    for edge_type, n_edges in view.n_edges.items():
        matrix = view.matrix(edge_type)
        n_out, n_in = len(view.vocabularies[edge_type[0]]), len(view.vocabularies[edge_type[2]])
        out = np.diff(matrix.indptr)
        into = np.bincount(matrix.indices, minlength=n_in)
        touched[edge_type[0]][: len(out)] |= out > 0
        touched[edge_type[2]] |= into > 0
        edges[spell(edge_type)] = {
            "edges": n_edges,
            "mean_out": n_edges / max(n_out, 1),
            "max_out": int(out.max(initial=0)),
            "mean_in": n_edges / max(n_in, 1),
            "max_in": int(into.max(initial=0)),
            "mean_weight": float(np.mean(matrix.data)) if n_edges else 0.0,
        }
    nodes = {kind: {"nodes": len(one), "isolated": int((~one).sum())} for kind, one in touched.items()}
    return {"nodes": nodes, "edges": edges}
