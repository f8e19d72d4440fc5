"""Learned ranking: what is known of a user and a candidate, and models that make one score of it."""
