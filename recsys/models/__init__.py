"""Every model by name, fitted in one way: what it learns from and may know, its settings and where to search them."""
