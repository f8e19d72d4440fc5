"""The sub-commands of `recsys` that need the service."""
