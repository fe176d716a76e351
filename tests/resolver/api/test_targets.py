import pytest

from resolver.api.targets import TARGET_OCTETS_MAX, append, find_target

LONGEST = b"https://a.example/".ljust(TARGET_OCTETS_MAX, b"x")


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b"https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        (b"HTTP://example.org", "HTTP://example.org"),
        (b"ftp://example.org/x", "ftp://example.org/x"),
        ("https://例.example/标".encode(), "https://xn--fsq.example/%E6%A0%87"),
        ("https://user@例.example:81".encode(), "https://user@xn--fsq.example:81"),
        ("https://xn--.标\u3002\u3002a/".encode(), "https://xn--.%E6%A0%87%E3%80%82%E3%80%82a/"),
        (b" https://a.example/a b\n", "https://a.example/a%20b"),
        (b"https://[::1]:81/", "https://[::1]:81/"),
        (b'https://example.org/"<>\\', "https://example.org/%22%3C%3E%5C"),
        (b"https://example.org/\xff", "https://example.org/%FF"),
        (b"javascript:alert(1)", None),
        (b"data:text/html,x", None),
        (b"file:///etc/passwd", None),
        (b"https:///example.org", None),
        (b"https://?", None),
        (b"https://a.example/\r\nSet-Cookie: a=b", None),
        (b"https://a.exa mple/x", None),
        (b"https://a.example/\nx", None),
        (b"//evil.example", None),
        (
            b"https://a.example/" + b"x" * (TARGET_OCTETS_MAX - 18),
            "https://a.example/" + "x" * 8_174,
        ),
        (LONGEST + b"x", None),
        (b"", None),
    ],
)
def test_only_harmless_addresses_are_led_to(data: bytes, target: str | None) -> None:
    assert find_target(data) == target


@pytest.mark.parametrize(
    ("target", "addition", "made"),
    [
        ("https://a.example/x", b"?y=1&z", "https://a.example/x?y=1&z"),
        ("https://a.example", b"/x", "https://a.example/x"),
        ("https://a.example", b"?x", "https://a.example?x"),
        ("https://a.example/x", "/标".encode(), "https://a.example/x/%E6%A0%87"),
        ("https://a.example/x", b"@evil.example", "https://a.example/x@evil.example"),
        ("https://a.example", b".evil.example", None),
        ("https://a.example", b"@evil.example", None),
        ("https://a.example", b":81", None),
        ("https://a.example", b"\\@evil.example", None),
        ("https://a.example/x", b"\r\nSet-Cookie: a=b", None),
        ("https://a.example/x", b" y", "https://a.example/x%20y"),
        ("https://[::1/x", b"y", None),
    ],
)
def test_what_is_appended_leads_to_the_same_place(
    target: str, addition: bytes, made: str | None
) -> None:
    assert append(target, addition) == made
