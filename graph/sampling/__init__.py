"""Neighbors drawn at random, many nodes at once, in plain torch: for graphs too large to propagate over whole."""
