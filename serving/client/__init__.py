"""A typed Python client of the service: `serving.client.sync.Client` and `serving.client.asynchronous.AsyncClient`."""
