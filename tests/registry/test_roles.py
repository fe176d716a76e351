import pytest

from protocol.codes import OpCode
from protocol.errors import ProtocolError
from protocol.value import Reference
from registry.roles import Role, Roles, identity_from_text
from tests.registry.builders import ADMIN, ROOT, STRANGER

ROLES = Roles({Role.ADMINISTRATOR: (ROOT,), Role.OPERATOR: (ADMIN,), Role.PEER: (STRANGER,)})


def test_identities_are_read_from_text() -> None:
    assert identity_from_text("300:0.NA/88.118") == ADMIN
    assert identity_from_text("0:88/a:b/c") == Reference(b"88/a:b/c", 0)
    assert identity_from_text("1:88/标识").handle == "88/标识".encode()


@pytest.mark.parametrize(
    "text", ["", "300", ":x/y", "-1:x/y", "x:x/y", "1:", "2147483648:x/y", "٣:x/y"]
)
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(ProtocolError):
        identity_from_text(text)


@pytest.mark.parametrize(
    ("opcode", "who"),
    [
        (OpCode.HOME_NA, {ROOT}),
        (OpCode.UNHOME_NA, {ROOT}),
        (OpCode.LIST_HANDLES, {ROOT, ADMIN}),
        (OpCode.LIST_HOMED_NAS, {ROOT, ADMIN, STRANGER}),
        (OpCode.RETRIEVE_TXN_LOG, {ROOT, STRANGER}),
        (OpCode.CREATE_HANDLE, {ROOT}),
    ],
)
def test_what_a_role_allows(opcode: OpCode, who: set[Reference]) -> None:
    assert {each for each in (ROOT, ADMIN, STRANGER) if ROLES.permits(each, opcode)} == who
    assert set(ROLES.holders(opcode)) == who


def test_roles_are_held() -> None:
    assert ROLES.has(ADMIN, Role.OPERATOR)
    assert not ROLES.has(ADMIN, Role.ADMINISTRATOR)
    assert not Roles().has(ROOT, Role.ADMINISTRATOR)
