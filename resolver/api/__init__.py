"""The HTTP face of a node beside the tunnel: JSON REST, health, metrics, pages for people."""
