"""A graph in the formats of others: tables of edges, GraphML, RDF, and PyG's HeteroData without pickle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from graph.knowledge_graph import EdgeList, KnowledgeGraph
from graph.schema import EdgeType
from graph.view import View

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Format = Literal["parquet", "graphml", "ntriples", "hetero"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BASE = "urn:recsys:"
_LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
_TYPE = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DECIMAL = "<http://www.w3.org/2001/XMLSchema#double>"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def export_parquet(view: View, folder: Path) -> list[Path]:
    """`nodes.parquet` (type, name, title) and one `edges-NN.parquet` a relation (source_type, source, relation,
    target_type, target, weight); forward direction only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [(kind, name, row) for kind, names in view.vocabularies.items() for row, name in enumerate(names)]
    table = pa.table(
        {
            "type": pa.array([one[0] for one in nodes], pa.string()).dictionary_encode(),
            "name": pa.array([one[1] for one in nodes], pa.string()),
            "title": pa.array([view.title((one[0], one[2])) for one in nodes], pa.string()),
        }
    )
    written = [folder / "nodes.parquet"]
    pq.write_table(table, written[0])
    for number, edge_type in enumerate(view.n_edges):
        listed = _edges(view, edge_type)
        source, relation, target = edge_type
        columns = {
            "source_type": np.full(len(listed), source),
            "source": np.array(view.vocabularies[source].ids, dtype=object)[listed.src],
            "relation": np.full(len(listed), relation),
            "target_type": np.full(len(listed), target),
            "target": np.array(view.vocabularies[target].ids, dtype=object)[listed.dst],
        }
        arrays = {name: pa.array(values.tolist(), pa.string()) for name, values in columns.items()}
        written.append(folder / f"edges-{number:02d}.parquet")
        pq.write_table(pa.table({**arrays, "weight": pa.array(listed.weight)}), written[-1])
    return written


def export_graphml(view: View, file: Path) -> list[Path]:
    """One directed GraphML file; signs that XML cannot hold become U+FFFD."""
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        '<key id="type" for="node" attr.name="type" attr.type="string"/>\n'
        '<key id="label" for="node" attr.name="label" attr.type="string"/>\n'
        '<key id="relation" for="edge" attr.name="relation" attr.type="string"/>\n'
        '<key id="weight" for="edge" attr.name="weight" attr.type="double"/>\n<graph edgedefault="directed">\n'
    )
    lines = chain([head], _graphml_nodes(view), _graphml_edges(view), ["</graph>\n</graphml>\n"])
    return _write_lines(file, lines)


def _graphml_nodes(view: View) -> Iterator[str]:
    for kind, names in view.vocabularies.items():
        for row, name in enumerate(names):
            title = escape(_NOT_XML.sub("�", view.title((kind, row))))
            told = f'<data key="type">{escape(_NOT_XML.sub("�", kind))}</data><data key="label">{title}</data>'
            yield f"<node id={quoteattr(_NOT_XML.sub('�', f'{kind}/{name}'))}>{told}</node>\n"


def _graphml_edges(view: View) -> Iterator[str]:
    for edge_type in view.n_edges:
        listed, (source, relation, target) = _edges(view, edge_type), edge_type
        told = f'<data key="relation">{escape(_NOT_XML.sub("�", relation))}</data><data key="weight">'
        for src, dst, weight in _triples(listed):
            ends = (f"{source}/{view.vocabularies[source][src]}", f"{target}/{view.vocabularies[target][dst]}")
            a, b = (quoteattr(_NOT_XML.sub("�", end)) for end in ends)
            yield f"<edge source={a} target={b}>{told}{weight:.9g}</data></edge>\n"


def export_ntriples(view: View, file: Path, *, weights: bool = False) -> list[Path]:
    """RDF 1.1 N-Triples: a type and a label for each node, a triple for each edge.

    Args:
        view: the graph.
        file: to write.
        weights: also tell each edge's weight, as an `rdf:Statement` about it (five more lines an edge).
    """
    return _write_lines(file, chain(_rdf_nodes(view), _rdf_edges(view, weights=weights)))


def _rdf_nodes(view: View) -> Iterator[str]:
    for kind, names in view.vocabularies.items():
        for row, name in enumerate(names):
            node = _iri(kind, name)
            yield f"{node} {_TYPE} {_iri('type', kind)} .\n{node} {_LABEL} {_literal(view.title((kind, row)))} .\n"


def _rdf_edges(view: View, *, weights: bool) -> Iterator[str]:
    number = 0
    for edge_type in view.n_edges:
        source, relation, target = edge_type
        predicate = _iri("relation", relation)
        for src, dst, weight in _triples(_edges(view, edge_type)):
            a, b = _iri(source, view.vocabularies[source][src]), _iri(target, view.vocabularies[target][dst])
            yield f"{a} {predicate} {b} .\n"
            if weights:
                told = f'"{weight:.9g}"^^{_DECIMAL}'
                parts = [(f"<{_RDF}subject>", a), (f"<{_RDF}predicate>", predicate), (f"<{_RDF}object>", b)]
                parts += [(_TYPE, f"<{_RDF}Statement>"), (_iri("weight"), told)]
                yield "".join(f"_:e{number} {verb} {value} .\n" for verb, value in parts)
                number += 1


def export_hetero(graph: KnowledgeGraph, folder: Path) -> list[Path]:
    """`graph.safetensors` and `graph.json`, which `load_hetero` turns into a `HeteroData`; reverses included."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for number, listed in enumerate(graph.edges.values()):
        tensors[f"{number}.edge_index"] = torch.from_numpy(np.stack([listed.src, listed.dst]))
        tensors[f"{number}.edge_weight"] = torch.from_numpy(np.array(listed.weight))
    told = {
        "nodes": [{"type": kind, "names": list(names)} for kind, names in graph.vocabularies.items()],
        "edge_types": [list(edge_type) for edge_type in graph.edges],
    }
    save_file(tensors, folder / "graph.safetensors")
    (folder / "graph.json").write_bytes(orjson.dumps(told))
    return [folder / "graph.safetensors", folder / "graph.json"]


def load_hetero(folder: Path) -> HeteroData:
    """What `export_hetero` wrote, as `KnowledgeGraph.to_hetero` gives it; names of nodes are in `data[type].names`.

    Raises:
        InputError: the files cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from graph.pyg import HeteroData

    try:
        told = orjson.loads((folder / "graph.json").read_bytes())
        tensors = load_file(folder / "graph.safetensors")
    except (OSError, orjson.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"{folder} cannot be read: {error}") from error
    data = HeteroData()
    for node in told["nodes"]:
        data[node["type"]].num_nodes = len(node["names"])
        data[node["type"]].names = node["names"]
    for number, (source, relation, target) in enumerate(told["edge_types"]):
        data[source, relation, target].edge_index = tensors[f"{number}.edge_index"]
        data[source, relation, target].edge_weight = tensors[f"{number}.edge_weight"]
    return data


def _edges(view: View, edge_type: EdgeType) -> EdgeList:
    matrix = view.matrix(edge_type)
    src = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return EdgeList(src, matrix.indices.astype(np.int64), np.asarray(matrix.data))


def _triples(listed: EdgeList) -> Iterator[tuple[int, int, float]]:
    return zip(listed.src.tolist(), listed.dst.tolist(), listed.weight.tolist(), strict=True)


def _iri(*parts: str) -> str:
    """A URN; whatever an IRI may not hold is percent-encoded."""
    return f"<{_BASE}{'/'.join(quote(part, safe='') for part in parts)}>"


def _literal(text: str) -> str:
    escaped = "".join(
        _ESCAPES.get(sign) or (sign if sign >= " " and sign != "\x7f" else f"\\u{ord(sign):04X}") for sign in text
    )
    return f'"{escaped}"'


def _write_lines(file: Path, lines: Iterator[str]) -> list[Path]:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}")
    with draft.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(lines)
    draft.replace(file)
    return [file]
