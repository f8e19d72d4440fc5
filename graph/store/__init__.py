"""A knowledge graph on disk: memory-mapped, built from more edges than fit into memory, added to day by day."""
