"""What a batch file consists of, as Handle.Net's `hdl-genericbatch` reads it.

The grammar, from its technical manual (chapter "Batch Operation"):

    CREATE handle                                   then value lines, ended by a blank line
    ADD handle                                      the same
    MODIFY handle                                   the same
    DELETE handle                                   one line
    REMOVE index,index:handle                       one line
    HOME address:port:protocol                      then prefix handles, ended by a blank line;
    UNHOME address:port:protocol                    protocol TCP, UDP or HTTP; [address] for IPv6
    AUTHENTICATE SECKEY:index:handle                then the secret on a line of its own
    AUTHENTICATE PUBKEY:index:handle                then path or path|passphrase of the private key
    SESSIONSETUP                                    then these lines in any order, and a blank line:
      USESESSION:1                                  0: without sessions
      OPTIONS:111                                   encrypt, authenticate, fall back on challenges
      TIMEOUT:24                                    hours
      PUBEXNGKEYFILE:path                           the client's RSA key; or where it is registered:
      PUBEXNGKEYREF:index:handle
      PRIVEXNGKEYFILE:path                          its private half, with PASSPHRASE:passphrase

    index type ttl permissions encoding data        a value line: `value_lines`

Blank lines between sections do not count. Authentication and session set-up hold from where they
stand on. Words are read in any case. There are no comments, and nothing lists handles: the LIST of
a value line is an encoding.

Read more leniently than by the stock tool, where that cannot be mistaken: lines of white space are
blank, and a line that begins with the word of a section ends the values before it (the manual's
own examples lack the blank line). Read more strictly: everything above has to be there as it says,
and a log-in that fails ends the batch, which must not go on as somebody else.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from protocol.value import HandleValue, Reference


class Verb(StrEnum):
    """What an operation does; the value is its word in the file."""

    CREATE = "CREATE"
    ADD = "ADD"
    MODIFY = "MODIFY"
    DELETE = "DELETE"
    REMOVE = "REMOVE"
    HOME = "HOME"
    UNHOME = "UNHOME"


VERBS_WITH_VALUES = frozenset({Verb.CREATE, Verb.ADD, Verb.MODIFY})
VERBS_OF_PREFIXES = frozenset({Verb.HOME, Verb.UNHOME})
AUTHENTICATE = "AUTHENTICATE"
SESSIONSETUP = "SESSIONSETUP"
WORDS = frozenset({*Verb, AUTHENTICATE, SESSIONSETUP})


class BatchError(Exception):
    """Something in a batch file that cannot be meant.

    Attributes:
        line: counted from 1.
        column: the first character of what is wrong, counted from 1.
        what: what is wrong.
        hint: what to do about it.
    """

    def __init__(self, line: int, column: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.line = line
        self.column = column
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"line {self.line}, column {self.column}: {self.what}{hint}"


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """The server that a HOME or UNHOME names; `transport` is one of `hs_site.TRANSPORT_...`."""

    address: str
    port: int
    transport: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: one prefix of a HOME counts as one.

    `text` is what the file says, made complete where one section has several: it can be run again.
    """

    line: int
    verb: Verb
    handle: bytes
    text: str = field(repr=False)
    values: tuple[HandleValue, ...] = ()
    indexes: tuple[int, ...] = ()
    server: ServerPlace | None = None


@dataclass(frozen=True, slots=True)
class LogIn:
    """An AUTHENTICATE: either a secret, or a key file and perhaps its passphrase."""

    line: int
    identity: Reference
    text: str = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)
    key_path: str = ""
    passphrase: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SessionWish:
    """A SESSIONSETUP.

    Without OPTIONS messages are not encrypted, and where a session fails challenges are used. The
    digit for authentication changes nothing here: answers in a session always bear a MAC.
    """

    line: int
    text: str = field(repr=False)
    use: bool = True
    encrypt: bool = False
    fall_back: bool = True
    timeout_s: int | None = None
    public_key_path: str = ""
    public_key_reference: Reference | None = None
    private_key_path: str = ""
    passphrase: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """A section that cannot be read, up to where the next one begins."""

    error: BatchError
    text: str = field(repr=False)
    ends_run: bool = False  # it may be a log-in: what follows must not be done as somebody else

    @property
    def line(self) -> int:
        """Where the section begins or, of a value, stands."""
        return self.error.line


Section = Operation | LogIn | SessionWish | Fault
