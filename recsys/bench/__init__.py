"""Comparing models on one data set under one protocol: reading it, tuning, runs of their own, one table."""
