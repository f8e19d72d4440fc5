"""Judge a policy on logged traffic before anyone sees it: off-policy evaluation with honest uncertainty."""
