"""Measure a node from the outside; shares only `protocol` with it (see README.md)."""
