"""Frozen encoders: words and pictures to vectors, cached on disk."""
