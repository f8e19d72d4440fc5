"""The planted synthetic shop: pictures, words, attributes and behavior with a known truth."""
