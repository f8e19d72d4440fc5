"""How an answer is made: sources find candidates, a ranker orders them, stages change the order, slots are filled."""
