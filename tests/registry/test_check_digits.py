import pytest

from registry.check_digits import SCHEMES, check_octets, check_of


@pytest.mark.parametrize(
    ("name", "before", "expected"),
    [
        ("gs1", b"629104150021", b"3"),  # GS1's own example of a GTIN-13
        ("gs1", b"88.118/GTIN.629104150021", b"3"),
        ("iso7064-mod11-2", b"079", b"X"),  # ISO 7064's example
        ("iso7064-mod11-10", b"0794", b"5"),
        ("iso7064-mod37-2", b"x/G123489654321", b"Y"),
        ("iso7064-mod37-36", b"A12425GABC1234002", b"M"),
        ("iso7064-mod37-36", b"a12425gabc1234002", b"M"),
        ("iso7064-mod97-10", b"99991234567890121414", b"90"),
        ("", b"whatever", b""),
    ],
)
def test_check_characters_of_what_is_before_them(name: str, before: bytes, expected: bytes) -> None:
    assert check_of(name, before) == expected
    assert check_octets(name) == len(expected)


def test_every_scheme_adds_as_many_characters_as_it_says() -> None:
    for name in SCHEMES:
        for serial in range(200):
            assert len(check_of(name, b"88.118/A%06d" % serial)) == check_octets(name), name
