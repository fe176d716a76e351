import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from loadtest.formula import Shape
from loadtest.load import read_puts
from loadtest.lot import LOT_PIECE, LOT_ROWS, lot_pieces, lot_row
from loadtest.plan import Plan
from loadtest.registrar_client import Administrator, Streamed, prove, read_end
from loadtest.startup import MeasurementError
from loadtest.writable import check_rows, describe_disk
from loadtest.writes import (
    setup_words,
    started,
    whole_lines,
    without_timestamps,
)
from protocol.key_files import decode_private_key

PUTS: dict[str, Any] = {
    "created": 300,
    "refused": 0,
    "first_refused": "",
    "microseconds": 2_000_000,
    "p50_us": 1.0,
    "p99_us": 2.0,
    "p999_us": 3.0,
    "max_us": 4.0,
    "broken": 0,
}
END: dict[str, Any] = {"rows": 2, "created": 2, "receipt": "a.b.c"}


def test_only_rows_that_were_created_make_the_rate() -> None:
    answers = read_puts(PUTS)
    assert answers.rate == 150
    assert answers.counts == {"created": 300}
    assert answers.latency_us["p99_us"] == 2.0
    for change in ({"refused": 1, "first_refused": "409 {}"}, {"broken": 1}, {"created": 0}):
        with pytest.raises(MeasurementError, match="rows were created"):
            read_puts(PUTS | change)


def test_a_stream_ends_with_a_receipt_for_every_row() -> None:
    assert read_end(200, json.dumps(END).encode() + b"\n") == END
    refused = b'{"row": 1, "verdict": "refused"}\n'
    for status, body in (
        (200, refused + json.dumps(END).encode()),
        (200, json.dumps(END | {"created": 1}).encode()),
        (200, json.dumps(END | {"receipt": None}).encode()),
        (200, b""),
        (409, b"{}"),
    ):
        with pytest.raises(MeasurementError):
            read_end(status, body)
    check_rows(Streamed(END, 1.0), 2)
    with pytest.raises(MeasurementError, match="3 rows were sent, 2 created"):
        check_rows(Streamed(END, 1.0), 3)


def test_an_administrator_signs_both_nonces() -> None:
    file = Path(__file__).parents[1] / "vectors" / "admpriv.bin"
    key = decode_private_key(file.read_bytes())
    assert isinstance(key, RSAPrivateKey)
    fields = prove(Administrator("300:0.NA/88", key), {"sessionId": "s", "nonce": "bm9uY2U="})
    assert (fields["sessionId"], fields["id"]) == ("s", "300%3A0.NA%2F88")
    mine, signature = (base64.b64decode(fields[name]) for name in ("cnonce", "signature"))
    key.public_key().verify(signature, b"nonce" + mine, PKCS1v15(), hashes.SHA256())


def test_rows_state_no_time_wherever_they_are_cut() -> None:
    line = b'{"values":[{"index":1,"timestamp":"2026-11-21T00:00:00Z"}]}\n'
    for step in (1, 7, 60, 1_000):
        octets = line * 3 + line[:-1]
        pieces = (octets[start : start + step] for start in range(0, len(octets), step))
        found = b"".join(without_timestamps(pieces))
        assert found == b'{"values":[{"index":1}]}\n' * 3 + b'{"values":[{"index":1}]}'


def test_a_stream_ends_when_there_are_enough_rows() -> None:
    assert list(whole_lines(iter([b"a\n", b"b\n", b"c\n"]), iter([False, True]).__next__)) == [
        b"a\n",
        b"b\n",
    ]
    assert list(started(iter([b"a\n", b"b\n"]))) == [b"a\n", b"b\n"]


def test_the_report_names_what_every_figure_depends_on() -> None:
    words = setup_words(Plan(Shape(20_000)))
    assert {"rows", "authentication", "TLS", "cores", "keys", "load"} <= words.keys()


def test_a_lot_is_all_its_serials_in_order() -> None:
    first, *pieces = lot_pieces("88.118.5")
    rows = [json.loads(line) for line in first.splitlines()]
    assert rows == [lot_row("88.118.5", number) for number in range(LOT_PIECE)]
    assert len(pieces) + 1 == LOT_ROWS // LOT_PIECE
    assert rows[42]["handle"] == "88.118.5/870101.M1.20261121.0000042"
    assert rows[42]["attributes"]["page"].endswith("/0000042")


def test_what_rows_take_is_told_with_its_spread() -> None:
    assert describe_disk([300.0, 310.04, 290.0]) == (
        "300.0 octets on the disk a row, journal included (290.0 to 310.0)"
    )
