"""What is connected to what, and what does that make of it: the knowledge graph and the GNN."""
