"""A version tried on live traffic: the same requests answered again beside the answers that were sent."""
