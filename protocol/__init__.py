"""The Handle protocol: octets to messages and back. No I/O, no clock, no disk (README.md)."""
