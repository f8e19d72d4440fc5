"""Who asked, and what do they get, in milliseconds: Redis, the API, the storefront."""
