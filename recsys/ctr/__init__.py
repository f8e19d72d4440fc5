"""Will this user like this item? Ratings of 0 and 1, models that answer with a probability, and how they are judged."""
