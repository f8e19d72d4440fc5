"""Vectors as such, whatever they stand for: fewer dimensions, whitening, and which are near to which."""
