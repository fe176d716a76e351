"""Handles: storage, administration, authorization, journal. No sockets; see README.md."""
