"""Running the sections of a batch file, one after the other, against any server.

What one section does another may build on, so nothing overlaps. What a section comes to is an
Outcome, given to the caller before the next is begun; a section that fails does not hold up the
others, but a log-in that fails ends the run: the operations behind it were not meant for whoever
was logged in before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from protocol.codes import ResponseCode
from protocol.key_files import PrivateKey
from protocol.types.hs_site import HsSite
from resolver.batch.sections import (
    Fault,
    LogIn,
    Operation,
    Section,
    ServerPlace,
    SessionWish,
    Verb,
)
from resolver.client import (
    HandleClient,
    HandleError,
    Identity,
    KeyIdentity,
    OwnKey,
    SecretIdentity,
    SessionOptions,
    UnbelievedError,
    UnreachableError,
    fetch_site,
)
from resolver.client.errors import name_of

LOST_MAX = 5  # operations in a row without an answer to go by: more would be noise
_NAMES = {Verb.ADD: "add values", Verb.MODIFY: "modify values", Verb.REMOVE: "remove values"}

# As the stock tool writes them, where that is not the code's own name in capitals.
_CODE_NAMES: dict[int, str] = {
    ResponseCode.SERVER_NOT_RESPONSIBLE: "SERVER NOT RESPONSIBLE FOR HANDLE",
    ResponseCode.SERVER_BACKUP: "SERVER BACKUP/MAINTAIN",
    ResponseCode.NEED_RSA_KEY_FOR_SESSION: "REQUIRE RSA KEY FOR SESSION EXCHANGE",
    ResponseCode.INVALID_SESSION_SETUP_REQUEST: "INVALID SESSION REQUEST",
}

ReadKey = Callable[[str, bytes | None], PrivateKey]


class OpenClient(Protocol):
    """Makes clients: of where the batch is to go, or of one site."""

    def __call__(
        self, identity: Identity | None, sessions: SessionOptions | None, site: HsSite | None
    ) -> HandleClient:
        """Return a client; `site` is asked in place of what the command line names."""
        ...


class BatchStoppedError(Exception):
    """The run cannot go on; `line` is where in the file, `what` and `hint` say why."""

    def __init__(self, line: int, what: str, hint: str, *, is_unanswered: bool = False) -> None:
        super().__init__(what)
        self.is_unanswered = is_unanswered
        self.line = line
        self.what = what
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a section came to; `problem` is empty when it was done."""

    section: Operation | Fault
    problem: str = ""
    is_unanswered: bool = False

    def log_line(self) -> str:
        """Return the line for the log, in the form that the stock tool writes."""
        section = self.section
        if isinstance(section, Fault):
            error = section.error
            hint = f"; {error.hint}" if error.hint else ""
            return f"==>INVALID[{error.line}]: column {error.column}: {error.what}{hint}"
        name = _NAMES.get(section.verb, section.verb.lower())
        what = f"{name}:{section.handle.decode()}"
        if self.problem:
            return f"==>FAILURE[{section.line}]: {what}: {self.problem}"
        return f"==>SUCCESS[{section.line}]: {what}"


class BatchRunner:
    """Runs sections in order.

    `line` is that of the last log-in or session set-up begun with.

    Args:
        open_client: makes clients.
        read_key: reads a private key file with a passphrase, or asks for one; what it raises ends
            the run.
        identity: who is logged in before the first AUTHENTICATE.
        sessions: as wanted before the first SESSIONSETUP; None: without.
        warn: told once of each server that does no sessions.
    """

    def __init__(
        self,
        open_client: OpenClient,
        read_key: ReadKey,
        identity: Identity | None,
        sessions: SessionOptions | None,
        warn: Callable[[str], None],
    ) -> None:
        self._open = open_client
        self._read_key = read_key
        self._identity = identity
        self._sessions = sessions
        self._warn = warn
        self._warned: set[str] = set()
        self.line = 0
        self._client: HandleClient | None = None
        self._homes: dict[ServerPlace, list[HandleClient]] = {}

    async def run(
        self, sections: Iterable[Section], take: Callable[[Outcome], bool], skip: int = 0
    ) -> None:
        """Run sections until there are no more, or `take` says so.

        Args:
            sections: from a BatchReader.
            take: given each outcome; says whether to go on.
            skip: operations passed over, because an earlier run did them. Log-ins among them count.

        Raises:
            BatchStoppedError: a log-in or session that cannot be prepared, or no server answers.
        """
        unanswered = 0
        try:
            for section in sections:
                if isinstance(section, LogIn | SessionWish):
                    await self._prepare(section)
                    continue
                if isinstance(section, Fault) and section.ends_run:
                    raise BatchStoppedError(
                        section.line, section.error.what, section.error.hint or ""
                    )
                if skip:
                    skip -= 1
                    continue
                outcome = await self._do(section)
                unanswered = unanswered + 1 if outcome.is_unanswered else 0
                if not take(outcome):
                    return
                if unanswered >= LOST_MAX:
                    words = f"{unanswered} operations in a row failed so: {outcome.problem}"
                    hint = "look whether the server runs, and whether it is the one you mean"
                    raise BatchStoppedError(section.line, words, hint, is_unanswered=True)
        finally:
            await self._close()

    async def _do(self, section: Operation | Fault) -> Outcome:
        if isinstance(section, Fault):
            return Outcome(section, str(section.error))
        try:
            await self._perform(section)
        except UnbelievedError as error:
            words = f"the answer cannot be believed: {error.words}"
            return Outcome(section, words, is_unanswered=True)
        except UnreachableError as error:
            return Outcome(section, f"no answer: {error.words}", is_unanswered=True)
        except HandleError as error:
            return Outcome(section, _words_of(error))
        self._tell_refusals()
        return Outcome(section)

    async def _perform(self, operation: Operation) -> None:
        handle, values = operation.handle, operation.values
        if operation.server is not None:
            for client in await self._clients_at(operation.server):
                await (client.home if operation.verb is Verb.HOME else client.unhome)(handle)
            return
        client = self._client = self._client or self._open(self._identity, self._sessions, None)
        match operation.verb:
            case Verb.CREATE:
                await client.create(handle, values)
            case Verb.ADD:
                await client.add(handle, values)
            case Verb.MODIFY:
                await client.modify(handle, values)
            case Verb.REMOVE:
                await client.remove(handle, operation.indexes)
            case _:
                await client.delete(handle)

    async def _clients_at(self, place: ServerPlace) -> list[HandleClient]:
        """Return a client for every server of the site that a server belongs to: each is told."""
        if place not in self._homes:
            try:
                site = await fetch_site(place.address, place.port, place.transport)
            except ValueError:
                raise HandleError(f"{place.address!r} is not an IP address") from None
            if not site.is_primary:
                raise HandleError(f"{place.address}:{place.port} is a mirror, not a primary server")
            self._homes[place] = [
                self._open(self._identity, self._sessions, replace(site, servers=(server,)))
                for server in site.servers
            ]
        return self._homes[place]

    async def _prepare(self, section: LogIn | SessionWish) -> None:
        await self._close()
        self.line = section.line
        if isinstance(section, LogIn):
            self._identity = self._log_in(section)
        else:
            self._sessions = self._session_options(section) if section.use else None

    def _log_in(self, section: LogIn) -> Identity:
        if section.secret is not None:
            return SecretIdentity(section.identity, section.secret)
        return KeyIdentity(section.identity, self._read_key(section.key_path, section.passphrase))

    def _session_options(self, wish: SessionWish) -> SessionOptions:
        options = SessionOptions(encrypt=wish.encrypt, fall_back=wish.fall_back)
        if wish.timeout_s is not None:
            options = replace(options, timeout_s=wish.timeout_s)
        if not wish.private_key_path:
            return options
        key = self._read_key(wish.private_key_path, wish.passphrase)
        if not isinstance(key, RSAPrivateKey):
            words = f"{wish.private_key_path} is a DSA key: it takes an RSA key to receive another"
            raise BatchStoppedError(wish.line, words, "leave the key lines out: Diffie-Hellman")
        return replace(options, own_key=OwnKey(key, wish.public_key_reference))

    def _tell_refusals(self) -> None:
        clients = [self._client, *(each for homes in self._homes.values() for each in homes)]
        for client in clients:
            for words in client.session_refusals if client is not None else ():
                if words not in self._warned:
                    self._warned.add(words)
                    self._warn(f"{words}; every change is challenged, nothing is encrypted")

    async def _close(self) -> None:
        clients = [each for homes in self._homes.values() for each in homes]
        if self._client is not None:
            clients.append(self._client)
        self._client, self._homes = None, {}
        for client in clients:
            await client.end_sessions()


def _words_of(error: HandleError) -> str:
    if error.response_code is None:
        return error.words
    code = error.response_code
    words = "" if error.words == name_of(code) else f": {error.words}"
    return f"Error({code}): {_CODE_NAMES.get(code, name_of(code).upper())}{words}"
