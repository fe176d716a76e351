"""The way from a signature to a root, and everything that may be wrong on it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from protocol.claims import Claims, Grant, Perm, digest_values, sign_claims
from protocol.key_files import PrivateKey, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from resolver.trust_chains import ChainChecker, Checked

NOW_S = 1_800_000_000
ROOT, MIDDLE, OWNER = (Reference(name, 300) for name in (b"0.0/0.0", b"0.NA/88", b"88.118/owner"))
HANDLE = b"88.118/valve"
VALUES = (HandleValue(1, b"URL", b"https://e.org/"), HandleValue(2, b"DESC", b"a valve"))


@cache
def key(reference: Reference) -> PrivateKey:
    return generate_rsa_key()


def public(reference: Reference) -> bytes:
    return encode_public_key(key(reference).public_key())


def text(reference: Reference) -> str:
    return f"{reference.index}:{reference.handle.decode()}"


CERTIFICATES = {
    ROOT: Claims(ROOT, text(ROOT), grants=(Grant(Perm.EVERYTHING),)),
    MIDDLE: Claims(ROOT, text(MIDDLE), grants=(Grant(Perm.DERIVED_PREFIXES, b"0.NA/88"),)),
    OWNER: Claims(
        MIDDLE, text(OWNER), grants=(Grant(Perm.HANDLES_UNDER_THIS_PREFIX, b"0.NA/88.118"),)
    ),
}
SIGNATURE = Claims(
    OWNER, HANDLE.decode(), digest_algorithm="SHA-256", digests=digest_values(VALUES)
)
TIMES = {"not_before_s": NOW_S - 10, "expires_s": NOW_S + 10}


class World:
    """Handles with certificates, to be changed by tests before they are asked for."""

    def __init__(self) -> None:
        self.claims = {
            who: replace(claims, public_key=public(who), **TIMES)  # type: ignore[arg-type]
            for who, claims in CERTIFICATES.items()
        }
        self.signature = replace(SIGNATURE, **TIMES)  # type: ignore[arg-type]
        self.values: tuple[HandleValue, ...] = VALUES
        self.signers = {who: claims.issuer for who, claims in self.claims.items()}
        self.signer = OWNER
        self.asked: list[bytes] = []
        self.index = 400

    def fetch(self, handle: bytes) -> Sequence[HandleValue]:
        self.asked.append(handle)
        for who, claims in self.claims.items():
            if who.handle == handle:
                token = sign_claims(claims, key(self.signers[who]))
                return [HandleValue(self.index, b"HS_CERT", token.encode())]
        raise LookupError(f"{handle.decode()} is not registered")

    def check(self, trusted: Reference = ROOT, now_s: int = NOW_S) -> Checked:
        token = sign_claims(self.signature, key(self.signer))
        record = (*self.values, HandleValue(500, b"HS_SIGNATURE", token.encode()))
        (found,) = ChainChecker(self.fetch, [public(trusted)], now_s).check(HANDLE, record)
        return found


def problems(checked: Checked) -> list[tuple[int, str]]:
    return [
        (step, problem) for step, link in enumerate(checked.links, 1) for problem in link.problems
    ]


def test_a_chain_is_followed_to_its_root() -> None:
    world = World()
    found = world.check()
    assert problems(found) == []
    assert found.is_good
    assert found.verified == (1, 2)
    assert [link.name for link in found.links] == [
        "HS_SIGNATURE 500:88.118/valve",
        "HS_CERT 400:88.118/owner",
        "HS_CERT 400:0.NA/88",
        "HS_CERT 400:0.0/0.0",
    ]
    assert world.asked == [b"88.118/owner", b"0.NA/88", b"0.0/0.0"]


def test_a_chain_that_is_named_is_asked_for_where_it_says() -> None:
    world = World()
    places = [Reference(who.handle, 401) for who in (OWNER, MIDDLE, ROOT)]
    world.signature = replace(world.signature, chain=tuple(places))
    ((step, problem),) = problems(world.check())
    assert (step, problem) == (
        1,
        "there is no certificate for 300:88.118/owner at 401:88.118/owner",
    )
    world.index = 401
    assert world.check().is_good
    world.claims[OWNER] = replace(world.claims[OWNER], chain=(Reference(b"0.NA/99", 1),))
    ((step, problem),) = problems(world.check())
    assert (step, problem) == (
        2,
        "the issuer's certificate is not to be had: 0.NA/99 is not registered",
    )


@pytest.mark.parametrize("who", [ROOT, MIDDLE, OWNER])
def test_every_certificate_has_to_hold_now(who: Reference) -> None:
    step = 2 + [OWNER, MIDDLE, ROOT].index(who)
    for change, words in (
        ({"expires_s": NOW_S - 1}, "it expired at 2027-01-15T07:59:59Z"),
        ({"not_before_s": NOW_S + 1}, "it is not valid before 2027-01-15T08:00:01Z"),
        ({"expires_s": None}, "it names no end (exp)"),
    ):
        world = World()
        world.claims[who] = replace(world.claims[who], **change)
        assert problems(world.check()) == [(step, words)]
    assert World().check(now_s=NOW_S + 10).is_good
    assert [step for step, _ in problems(World().check(now_s=NOW_S + 11))] == [1, 2, 3, 4]


@pytest.mark.parametrize("who", [ROOT, MIDDLE, OWNER])
def test_nobody_can_sign_with_another_key(who: Reference) -> None:
    world = World()
    world.signers[who] = HANDLE_KEY
    step = 2 + [OWNER, MIDDLE, ROOT].index(who)
    ((where, problem),) = problems(world.check())
    assert where == step
    assert "does not hold" in problem


HANDLE_KEY = Reference(b"somebody/else", 1)


def test_values_are_compared_with_what_was_signed() -> None:
    world = World()
    extra = HandleValue(3, b"X", b"new")
    world.values = (replace(VALUES[0], data=b"https://evil/"), extra)
    found = world.check()
    ((step, problem),) = problems(found)
    assert step == 1
    assert "index 1 is not the one that was signed" in problem
    assert found.verified == ()
    notes = " ".join(found.links[0].notes)
    assert "not to be read: index 2" in notes
    assert "not signed: index 3" in notes
    world = World()
    world.values = tuple(replace(value, timestamp=77) for value in VALUES)
    assert world.check().is_good, "timestamps may change"


def test_a_signature_of_another_handle_is_none_of_this_one() -> None:
    world = World()
    world.signature = replace(world.signature, subject="88.118/other")
    assert problems(world.check()) == [(1, "it is about 88.118/other, not about 88.118/valve")]


def test_a_root_has_to_be_trusted() -> None:
    ((step, problem),) = problems(World().check(trusted=OWNER))
    assert (step, problem) == (4, "the chain ends here, and this key is none of those trusted")


def test_nobody_grants_more_than_he_has() -> None:
    """A certificate on the way that does not cover the handle spoils what it leads to."""
    world = World()
    world.claims[OWNER] = replace(world.claims[OWNER], grants=(Grant(Perm.EVERYTHING),))
    world.claims[MIDDLE] = replace(
        world.claims[MIDDLE], grants=(Grant(Perm.THIS_HANDLE, b"88.118/owner"),)
    )
    ((step, problem),) = problems(world.check())
    assert step == 2
    assert "300:0.NA/88 may not sign 88.118/valve" in problem
    assert "thisHandle 88.118/owner" in problem
    world.claims[MIDDLE] = replace(world.claims[MIDDLE], grants=None)
    assert "allows nothing" in problems(world.check())[0][1]


def test_whoever_certifies_himself_is_no_root() -> None:
    world = World()
    world.claims[OWNER] = replace(world.claims[OWNER], issuer=OWNER)
    world.signers[OWNER] = OWNER
    assert problems(world.check()) == [
        (2, "the chain ends here, and this key is none of those trusted")
    ]


def test_a_circle_ends() -> None:
    world = World()
    world.claims[MIDDLE] = replace(world.claims[MIDDLE], issuer=OWNER)
    world.signers[MIDDLE] = OWNER
    found = world.check()
    assert not found.is_good
    assert "over 50 links" in problems(found)[-1][1]
    assert len(world.asked) == 2, "each handle is asked for once"


def test_what_cannot_be_read_is_said() -> None:
    checker = ChainChecker(World().fetch, [public(ROOT)], NOW_S)
    record = [HandleValue(4, b"HS_SIGNATURE", b"not a token"), HandleValue(5, b"HS_CERT", b"\xff")]
    for found in checker.check(HANDLE, record):
        assert not found.is_good
        assert len(found.links) == 1
    assert list(checker.check(HANDLE, record, [9])) == []
