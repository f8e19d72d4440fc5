"""Pictures of a shop: where they lie, how their bytes are opened safely, and which cannot be used."""
