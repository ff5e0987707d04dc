"""The options, batching and name that an upload may ask for."""
