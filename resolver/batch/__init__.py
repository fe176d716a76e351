"""Handle.Net's batch files: read, run against any server, written from a store."""
