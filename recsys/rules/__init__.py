"""What a shop says about its answers: filters, boosts, caps, pins, and how they are applied."""
