"""The way from a signature to a root, and everything that may be wrong on it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from protocol.claims import Claims, Grant, Perm, digest_values, sign_claims
from protocol.key_files import PrivateKey, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from protocol.value import HandleValue, Reference
from resolver.trust_chains import ChainChecker, Checked, TrustedKey, find_unsigned

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

    def check(
        self,
        trusted: Reference = ROOT,
        now_s: int = NOW_S,
        trusted_key: TrustedKey | None = None,
    ) -> Checked:
        token = sign_claims(self.signature, key(self.signer))
        record = (*self.values, HandleValue(500, b"HS_SIGNATURE", token.encode()))
        (found,) = ChainChecker(
            self.fetch, [trusted_key or TrustedKey(public(trusted))], now_s
        ).check(HANDLE, record)
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
    # The chain that was met first is used up before another one counts.
    elsewhere = (Reference(b"0.NA/99", 1),)
    world.claims[OWNER] = replace(world.claims[OWNER], chain=elsewhere)
    assert world.check().is_good
    world.signature = replace(world.signature, chain=tuple(places[:1]))
    ((step, problem),) = problems(world.check())
    assert (step, problem) == (
        2,
        "the issuer's certificate is not to be had: 0.NA/99 is not registered",
    )


@pytest.mark.parametrize("who", [ROOT, MIDDLE, OWNER])
def test_every_certificate_has_to_hold_now(who: Reference) -> None:
    step = 2 + [OWNER, MIDDLE, ROOT].index(who)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"expires_s": NOW_S - 1}, "it expired at 2027-01-15T07:59:59Z"),
        ({"not_before_s": NOW_S + 1}, "it is not valid before 2027-01-15T08:00:01Z"),
    ]
    for change, words in changes:
        world = World()
        world.claims[who] = replace(world.claims[who], **change)
        assert problems(world.check()) == [(step, words)]
    endless = World()
    endless.claims[who] = replace(endless.claims[who], expires_s=None)
    found = endless.check()
    assert found.is_good
    assert "without an end (exp)" in found.links[step - 1].notes
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
    assert problems(found) == [
        (1, "the value at index 1 is not the one that was signed (its digest differs)"),
        (1, "signed, but not there or not to be read: index 2"),
    ]
    assert found.verified == ()
    assert "not signed: index 3" in " ".join(found.links[0].notes)
    world = World()
    world.values = tuple(replace(value, timestamp=77) for value in VALUES)
    assert world.check().is_good, "timestamps may change"


def test_a_signature_of_another_handle_is_none_of_this_one() -> None:
    world = World()
    world.signature = replace(world.signature, subject="88.118/other")
    assert problems(world.check()) == [(1, "it is about 88.118/other, not about 88.118/valve")]


def test_a_record_is_complete_when_all_that_is_public_is_signed_by_what_holds() -> None:
    world = World()
    hidden = HandleValue(7, b"HS_SECKEY", b"s", 0b1100)
    world.values = (*VALUES, HandleValue(3, b"X", b"new"), hidden)
    found = world.check()
    assert found.is_good
    assert find_unsigned(world.values, [found]) == [3]
    assert find_unsigned(VALUES, [found]) == []
    broken = world.check(trusted=OWNER)
    assert find_unsigned(VALUES, [broken]) == [1, 2]


def test_a_signature_is_about_a_handle_without_an_index() -> None:
    world = World()
    world.signature = replace(world.signature, subject="500:88.118/valve")
    assert problems(world.check()) == [(1, "it is about 500:88.118/valve, not about 88.118/valve")]


def test_the_certificate_issued_last_counts() -> None:
    world = World()
    owner = world.claims[OWNER]
    useless = replace(owner, grants=None)

    def certificates(*claims: Claims) -> list[HandleValue]:
        tokens = [sign_claims(each, key(MIDDLE)) for each in claims]
        return [HandleValue(n, b"HS_CERT", t.encode()) for n, t in enumerate(tokens, 400)]

    for new, old, index in (
        (replace(owner, issued_s=9), replace(useless, issued_s=8), 401),
        (replace(owner, issued_s=0), useless, 401),
        (owner, useless, None),
    ):
        values = certificates(old, new) if index else certificates(new, old)

        def fetch(handle: bytes, values: list[HandleValue] = values) -> Sequence[HandleValue]:
            return values if handle == OWNER.handle else world.fetch(handle)

        token = sign_claims(world.signature, key(OWNER))
        record = (*VALUES, HandleValue(500, b"HS_SIGNATURE", token.encode()))
        (found,) = ChainChecker(fetch, [TrustedKey(public(ROOT))], NOW_S).check(HANDLE, record)
        assert problems(found) == []
        assert found.links[1].name == f"HS_CERT {index or 400}:88.118/owner"


def test_a_chain_may_name_handles_alone_and_values_of_any_type() -> None:
    world = World()
    world.signature = replace(world.signature, chain=(Reference(OWNER.handle, 0),))
    assert world.check().is_good
    world.signature = replace(world.signature, chain=(Reference(OWNER.handle, 400),))

    def fetch(handle: bytes) -> Sequence[HandleValue]:
        return [replace(each, type=b"X") for each in world.fetch(handle)][
            : handle == OWNER.handle
        ] or (world.fetch(handle))

    token = sign_claims(world.signature, key(OWNER))
    record = (*VALUES, HandleValue(500, b"HS_SIGNATURE", token.encode()))
    (found,) = ChainChecker(fetch, [TrustedKey(public(ROOT))], NOW_S).check(HANDLE, record)
    assert problems(found) == []
    assert found.links[1].name == "X 400:88.118/owner"


def test_a_certificate_by_itself_needs_a_chain_and_no_permission() -> None:
    """It may stand anywhere, and what its issuer may sign shows where it is used."""
    world = World()
    claims = replace(world.claims[OWNER], issuer=MIDDLE)
    record = [HandleValue(9, b"HS_CERT", sign_claims(claims, key(MIDDLE)).encode())]
    checker = ChainChecker(world.fetch, [TrustedKey(public(ROOT))], NOW_S)
    (found,) = checker.check(b"77/somewhere", record)
    assert problems(found) == []
    (found,) = ChainChecker(world.fetch, [], NOW_S).check(b"77/somewhere", record)
    assert not found.is_good


def test_a_key_that_is_trusted_at_one_handle_is_not_at_another() -> None:
    assert World().check(trusted_key=TrustedKey(public(ROOT), b"0.0/0.0")).is_good
    elsewhere = TrustedKey(public(ROOT), b"0.NA/0.NA")
    ((step, problem),) = problems(World().check(trusted_key=elsewhere))
    assert (step, problem) == (4, "this key is trusted as that of 0.NA/0.NA only")
    world = World()
    world.signature = replace(world.signature, issuer=MIDDLE)
    world.signer = MIDDLE
    world.claims[MIDDLE] = replace(
        world.claims[MIDDLE], issuer=MIDDLE, grants=CERTIFICATES[ROOT].grants
    )
    world.signers[MIDDLE] = MIDDLE
    found = world.check(trusted=MIDDLE)
    assert found.is_good
    assert "clients of Handle.Net believe a root at 0.0/0.0 only" in found.links[-1].notes


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
    checker = ChainChecker(World().fetch, [TrustedKey(public(ROOT))], NOW_S)
    record = [HandleValue(4, b"HS_SIGNATURE", b"not a token"), HandleValue(5, b"HS_CERT", b"\xff")]
    for found in checker.check(HANDLE, record):
        assert not found.is_good
        assert len(found.links) == 1
    assert list(checker.check(HANDLE, record, [9])) == []
