"""The sub-commands of `recsys` below the service; each imports its machinery only when it runs."""
