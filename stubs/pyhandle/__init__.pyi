"""What the interop tests use of PYHANDLE, which has no types of its own."""
