"""What the models on the knowledge graph share: which graph they are trained on."""

from __future__ import annotations

from pydantic import PositiveInt

from features.interactions import Interactions
from features.section import Section
from graph.build import GraphConfig, build_graph
from graph.knowledge_graph import KnowledgeGraph
from recsys.models.knowledge import Knowledge


class OnGraphConfig(Section):
    """Settings of the graph."""

    neighbors: PositiveInt = 10
    """Alike items of each item, by each modality."""
    graph: GraphConfig = GraphConfig(look_alikes=("text", "image", "audio"))

    def graph_of(self, train: Interactions, known: Knowledge) -> KnowledgeGraph:
        """The graph of the training events and of everything known."""
        near = known.neighbors(self.neighbors)
        return build_graph(
            known.catalog,
            train,
            known.user_attributes,
            near,
            self.graph,
            trust=known.match,
            other_behavior=known.other_behavior,
        )
