"""Lettering: the words that stand in pictures, and whether they are those of the listing."""
