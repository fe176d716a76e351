"""Native code for rows of NDJSON agrees with Python octet for octet, or leaves the line to it."""

import importlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.rows.native import is_native_built
from tests.resolver.rows.lines import (
    TIMES,
    TOKENS,
    TYPES,
    LineMaker,
    hold_to_python,
    mutate,
)

pytestmark = pytest.mark.skipif(
    not is_native_built(), reason="native code for rows was not built here"
)

ROW = (
    b'{"handle":"88/a","values":[{"index":1,"type":"URL","data":{"format":"string",'
    b'"value":"https://e.org/\xe8\x9e\xba"},"ttl":60,"timestamp":"2026-11-21T00:00:00Z"}]}'
)

ODD: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])
)
TEXTS = st.text() | st.sampled_from(["string", "hex", "create", "88/a", *TYPES, *TIMES])
NUMBERS = st.integers(-1, 4) | st.sampled_from([2**31 - 1, 2**31, 86_400])


def objects(
    needed: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw objects, few of them with odd members, in any order."""
    good = st.fixed_dictionaries(needed, optional=optional)
    odd = st.dictionaries(st.sampled_from([*needed, *optional, "x", "permissions"]), ODD)
    both = st.builds(lambda object_, more: object_ | more, good, odd)
    chosen = st.sampled_from([good] * 9 + [both]).flatmap(lambda each: each)
    return chosen.flatmap(lambda object_: st.permutations(list(object_.items())).map(dict))


DATA = objects({"format": st.just("string"), "value": TEXTS}, {})
VALUES = st.lists(
    objects(
        {"index": NUMBERS, "type": st.sampled_from(TYPES), "data": DATA},
        {"ttl": NUMBERS, "timestamp": st.sampled_from(TIMES)},
    ),
    max_size=4,
)
FORMS = objects({"handle": TEXTS, "values": VALUES}, {"operation": TEXTS})


def hold(data: bytes) -> int:
    return hold_to_python(importlib.import_module("resolver._rows"), data)


@given(FORMS, st.booleans(), st.sampled_from([None, (",", ":"), (" ,\t", " :\r")]))
def test_rows_drawn_by_hypothesis(
    form: dict[str, Any], is_ascii: bool, separators: tuple[str, str] | None
) -> None:
    octets = json.dumps(form, ensure_ascii=is_ascii, separators=separators)
    hold(octets.encode("utf-8", "surrogatepass"))


@given(st.randoms(use_true_random=False))
def test_rows_damaged(choose: random.Random) -> None:
    maker = LineMaker(choose)
    hold(b"\n".join(mutate(maker.make(), choose) for _ in range(3)))


def test_every_change_of_one_octet() -> None:
    assert hold(ROW) == 1
    taken = 0
    for at in range(len(ROW)):
        changed = bytearray(ROW)
        for octet in range(256):
            changed[at] = octet
            taken += hold(bytes(changed))
    assert taken > 1_000


def test_every_truncation_and_every_token_put_in_and_every_slice_left_out() -> None:
    for at in range(len(ROW)):
        assert hold(ROW[:at]) == 0
        for token in TOKENS:
            hold(ROW[:at] + token + ROW[at:])
        for end in range(at + 1, len(ROW) + 1):
            hold(ROW[:at] + ROW[end:])


def test_where_a_row_stands_makes_no_difference() -> None:
    for before in range(20):
        assert hold(b" " * before + ROW + b"\n\n" + ROW.replace(b"88", b"8" * before)) >= 1
