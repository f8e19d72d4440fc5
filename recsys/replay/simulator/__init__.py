"""Traffic with a known truth, in the form of any other log."""
