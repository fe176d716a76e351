"""Who somebody is: the keys of an identity, and whether an answer to a challenge was made with one.

    keys = find_keys(view, foreign, Reference(user_handle, user_index), authentication_type)

        Keys          verify_answer(keys, ...) in a thread: it costs CPU
        RemoteSecret  a secret that another node keeps: send it VERIFY_CHALLENGE
        Need          fetch this handle, certified, and call again
        Refusal       no such key

Index 0 stands for any key at the handle, smallest index first; the identity that is proven is then
the index whose key matched, never index 0, so that it gains exactly what that key was granted.
"""

import hmac
from dataclasses import dataclass

from protocol.challenge import verify_public_key_answer, verify_secret_key_answer
from protocol.codes import ResponseCode
from protocol.digests import RequestDigest
from protocol.errors import ProtocolError, SecurityError
from protocol.handle import to_text
from protocol.types.hs_pubkey import decode_public_key
from protocol.value import HandleValue, Reference
from registry.key_values import AUTHENTICATION_TYPES, HS_PUBKEY, HS_SECKEY
from registry.knowledge import Knowledge
from registry.outcomes import Foreign, Need, Refusal, Unavailable, identity_text, refuse
from registry.views import View

KEYS_TRIED_MAX = 16  # with index 0; each costs a signature or PBKDF2, a stranger's answer included


@dataclass(frozen=True, slots=True)
class Keys:
    """The values an answer may have been made with, smallest index first; at least one."""

    user: Reference
    values: tuple[HandleValue, ...]


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """A secret key at a handle of another node, which alone can check an answer."""

    user: Reference


def find_keys(
    view: View, foreign: Foreign, user: Reference, authentication_type: bytes
) -> Keys | RemoteSecret | Need | Refusal:
    """Find the keys of an identity.

    Args:
        view: the store.
        foreign: what was fetched of other nodes' handles.
        user: handle and index claimed; index 0 is any.
        authentication_type: b"HS_PUBKEY" or b"HS_SECKEY".

    Raises:
        RecordError: the stored row is damaged.
    """
    if authentication_type not in AUTHENTICATION_TYPES:
        return refuse(
            ResponseCode.INVALID_CREDENTIAL,
            f"authentication type {to_text(authentication_type[:32])} is unknown, "
            "use HS_PUBKEY or HS_SECKEY",
        )
    knowledge = Knowledge(view, foreign)
    if authentication_type == HS_SECKEY and not knowledge.is_local(user.handle):
        return RemoteSecret(user)
    found = knowledge.find(user.handle)
    if isinstance(found, Need):
        return found
    if isinstance(found, Unavailable):
        return refuse(
            ResponseCode.AUTHENTICATION_ERROR,
            f"the key of {identity_text(user)} could not be fetched: {found.reason}",
        )
    candidates = found.of_type(authentication_type) if found else ()
    values = sorted(
        (value for value in candidates if user.index in (0, value.index)),
        key=lambda value: value.index,
    )
    if not values:
        return refuse(
            ResponseCode.AUTHENTICATION_FAILED,
            f"{identity_text(user)} is no {to_text(authentication_type)} value",
        )
    return Keys(user, tuple(values[:KEYS_TRIED_MAX]))


def verify_answer(
    keys: Keys,
    authentication_type: bytes,
    answer: bytes,
    nonce: bytes,
    digest: RequestDigest,
    rounds_max: int,
) -> Reference | None:
    """Return the identity that made an answer, its index that of the key; None: nobody we know.

    Costs CPU: call it in a thread. `rounds_max` caps the PBKDF2 rounds that the sender chooses; an
    answer over the cap is a wrong one.
    """
    for value in keys.values:
        try:
            if authentication_type == HS_PUBKEY:
                holds = verify_public_key_answer(value.data, nonce, digest, answer)
            else:
                holds = verify_secret_key_answer(
                    value.data, nonce, digest, answer, rounds_max=rounds_max
                )
        except SecurityError:
            return None  # over the cap for every key alike
        except ProtocolError:
            continue  # a stored key that cannot be read proves nothing
        if holds:
            return Reference(keys.user.handle, value.index)
    return None


def verify_password(keys: Keys, password: bytes) -> Reference | None:
    """Return the identity whose secret key is `password`, or None, in constant time per key."""
    for value in keys.values:
        if hmac.compare_digest(value.data, password):
            return Reference(keys.user.handle, value.index)
    return None


def find_key_holder(keys: Keys, certified: bytes) -> Reference | None:
    """Return the identity whose public key is that of a certificate, or None.

    Args:
        keys: HS_PUBKEY values.
        certified: the certificate's key as HS_PUBKEY data.

    Raises:
        DecodeError, InvalidValueError: `certified` is no key.
    """
    wanted = decode_public_key(certified)
    for value in keys.values:
        try:
            if decode_public_key(value.data) == wanted:
                return Reference(keys.user.handle, value.index)
        except ProtocolError:
            continue  # a stored key that cannot be read is nobody's
    return None
