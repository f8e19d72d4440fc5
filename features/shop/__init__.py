"""The shop folder: its tables, its configuration, and what was refused on the way in."""
