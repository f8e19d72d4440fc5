"""GNN models over the knowledge graph, one file each."""
