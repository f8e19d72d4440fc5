"""Models in closed form: what a user's items say of the other items, through one matrix of items by items."""
