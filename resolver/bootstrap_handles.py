"""Handle.Net's bootstrap_handles: the records that its clients begin with.

    {"lastUpdate": ms,
     "handles": {"0.0/0.0":   {"handle": "0.0/0.0", "values": [..]},    HS_PUBKEY: the root's keys
                 "0.NA/0.NA": {"handle": "0.NA/0.NA", "values": [..]},  HS_SITE: the root's sites
                 ...}}                                                  HS_SERV of these: more sites

Values have the forms of the REST interface (wire-notes §16). What cannot be read is passed over, as
existing clients do: the file holds much that is nobody's here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from protocol.claims import TRUST_ROOT
from protocol.errors import ProtocolError
from protocol.handle import ROOT_HANDLE, fold_handle
from protocol.json_forms import value_from_json
from protocol.types.hs_pubkey import decode_public_key
from protocol.types.hs_site import HsSite, decode_hs_site
from protocol.value import HandleValue
from resolver.recursion import DEPTH_MAX, SITE_TYPES


class BootstrapHandles:
    """The records of a file.

    Args:
        document: what its JSON says; one without records of this form has none.
    """

    def __init__(self, document: object) -> None:
        self._records = dict(_records(document))

    def values(self, handle: bytes) -> Iterator[HandleValue]:
        """Iterate over the values of a handle that can be read."""
        for item in self._records.get(fold_handle(handle), ()):
            try:
                yield value_from_json(item)
            except ProtocolError:
                continue

    def root_keys(self) -> list[bytes]:
        """Return HS_PUBKEY data of the keys that the root of certificates may have."""
        return [value.data for value in self.values(TRUST_ROOT) if _is_key(value)]

    def root_sites(self) -> list[HsSite]:
        """Return the sites of the root, those of its service handles behind its own."""
        found: list[HsSite] = []
        waiting, seen = [ROOT_HANDLE], {ROOT_HANDLE}
        for _ in range(DEPTH_MAX + 1):
            services = []
            for handle in waiting:
                for value in self.values(handle):
                    found += _sites_in(value)
                    if value.type == b"HS_SERV":
                        services.append(fold_handle(value.data))
            waiting = [each for each in dict.fromkeys(services) if each not in seen]
            seen.update(waiting)
        return found


def _records(document: object) -> Iterator[tuple[bytes, list[Any]]]:
    handles = document.get("handles") if isinstance(document, dict) else None
    if isinstance(handles, list):  # records alone, as they come from the REST interface
        handles = {each.get("handle"): each for each in handles if isinstance(each, dict)}
    for name, record in handles.items() if isinstance(handles, Mapping) else ():
        values = record.get("values") if isinstance(record, dict) else None
        if isinstance(name, str) and isinstance(values, list):
            yield fold_handle(name.encode("utf-8", "surrogatepass")), values


def _is_key(value: HandleValue) -> bool:
    if value.type != b"HS_PUBKEY":
        return False
    try:
        decode_public_key(value.data)
    except ProtocolError:
        return False
    return True


def _sites_in(value: HandleValue) -> list[HsSite]:
    if value.type not in SITE_TYPES:
        return []
    try:
        return [decode_hs_site(value.data)]
    except ProtocolError:
        return []
