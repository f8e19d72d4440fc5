"""One file a kind of relation: from tables to the edges of a knowledge graph."""
