"""Items that change while the service runs: what may be said of them, where it is kept, and how it takes effect."""
