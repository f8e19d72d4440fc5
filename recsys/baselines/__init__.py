"""What any new model must beat: chance, popularity, neighbors, matrix factorization, and content alone."""
