"""Handles as people and programs name them: `hdl:88.118/x`, `doi:10.5/x`, `info:hdl/88.118/x`.

What stands before the handle is taken off, in either case, as the public Handle proxies do it, and
so are slashes and blanks around it. In `urn:hdl:88.118:x` the first colon stands for the slash.
"""

_BEFORE = (b"info:hdl/", b"info:doi/", b"hdl:", b"doi:")
_URNS = (b"urn:hdl:", b"urn:doi:", b"urn:eidr:")


def plain_handle(name: bytes) -> bytes:
    """Return the handle that a name means."""
    handle = name.strip()
    while handle.startswith(b"/"):
        handle = handle[1:].strip()
    small = handle[:9].lower()
    for before in _BEFORE:
        if small.startswith(before):
            return handle[len(before) :]
    for urn in _URNS:
        if small.startswith(urn):
            handle = handle[len(urn) :]
            prefix, colon, suffix = handle.partition(b":")
            return prefix + b"/" + suffix if colon and b"/" not in prefix else handle
    return handle
