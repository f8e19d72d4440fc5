"""A catalog that goes on changing after its bundle was made: new items, new prices, what sold out, what was removed."""
