"""A stranger's primary: it challenges a mirror, checks the proof, and streams what it is told to.

Like the rest of the foreign code it imports nothing of this project's packages. It stands for a
server whose order of records, forms and failures are its own.
"""

import contextlib
import hashlib
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.interop import foreign_wire as wire
from tests.interop.foreign_crypto import check_signature
from tests.interop.foreign_wire import Cursor, Envelope, Value, pack_str

ADDRESS = "127.0.0.1"
NONCE = b"a nonce of 16 oc"
DUMP_END = b"\xff"
Parts = list[bytes]


def handle_record(handle: bytes, *values: Value) -> bytes:
    return b"\1" + pack_str(handle) + wire.pack_list([pack_str(each.pack()) for each in values])


def change_record(number: int, handle: bytes, action: int, *values: Value) -> bytes:
    head = b"\1" + pack(">q", number) + pack_str(handle) + pack(">Bq", action, 1_790_000_000_000)
    packed = wire.pack_list([pack_str(each.pack()) for each in values])
    return head + packed if action in (1, 3) else head


def server_record(number: int) -> bytes:
    return b"\0" + pack(">qq", 1_790_000_000_000, number)


def key_form(key: rsa.RSAPrivateKey | dsa.DSAPrivateKey) -> dict[str, str]:
    """A public key in JSON."""

    def number(value: int) -> str:
        octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return b64encode(octets, b"-_").rstrip(b"=").decode()

    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    own = key.public_key().public_numbers()
    all_ = {"y": own.y, **{name: getattr(own.parameter_numbers, name) for name in "pqg"}}
    return {"kty": "DSA", **{name: number(value) for name, value in all_.items()}}


@dataclass
class ForeignPrimary:
    """Answers one request at a time; `dump` and `log` say what is streamed, part by part."""

    key: rsa.RSAPrivateKey | dsa.DSAPrivateKey
    mirror_key: rsa.RSAPublicKey
    dump: Callable[[Cursor], Parts]
    log: Callable[[Cursor], Parts]
    form: str = "signed"
    version: str = "2.10"
    before_tls: bytes = b""
    sign_with: rsa.RSAPrivateKey | None = None
    asked: list[int] = field(default_factory=list)
    port: int = 0
    _waiting: dict[int, tuple[int, bytes, bytes]] = field(default_factory=dict)

    def write_site(self, path: Path) -> None:
        """The site as operators copy it."""
        interface = {"query": True, "admin": True, "protocol": "TCP", "port": self.port}
        server = {
            "serverId": 1,
            "address": ADDRESS,
            "publicKey": {"format": "key", "value": key_form(self.key)},
            "interfaces": [interface],
        }
        site = {
            "version": 1,
            "protocolVersion": self.version,
            "serialNumber": 1,
            "primarySite": True,
            "multiPrimary": False,
            "attributes": [],
            "servers": [server],
        }
        path.write_text(json.dumps(site))

    @contextlib.contextmanager
    def running(self) -> Iterator["ForeignPrimary"]:
        with socket.create_server((ADDRESS, 0)) as listening:
            self.port = listening.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
            thread.start()
            yield self
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(5)
                self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as file:
            envelope = Envelope.read(file.read(20))
            message = file.read(envelope.length)
        opcode, body_octets = Cursor(message).number("i"), Cursor(message[20:]).number("i")
        covered, body = message[: 24 + body_octets], message[24 : 24 + body_octets]
        if opcode != wire.ANSWER_CHALLENGE:
            digest = hashlib.sha256(covered).digest()
            number = len(self._waiting) + 1
            self._waiting[number] = (opcode, body, digest)
            answer = b"\3" + digest + pack_str(NONCE)
            sock.sendall(self._reply(envelope, opcode, 402, answer, wire.RRDG, number))
            return
        opcode, body, digest = self._waiting[envelope.session]
        cursor = Cursor(message[24:])
        assert cursor.str() == b"HS_PUBKEY"
        cursor.str(), cursor.number("i")
        proof = Cursor(cursor.str())
        name, signature = proof.str(), proof.str()
        check_signature(self.mirror_key, name, signature, NONCE + digest)
        self.asked.append(opcode)
        is_log = opcode == wire.RETRIEVE_TXN_LOG
        sock.sendall(self._reply(envelope, opcode, 1, b"\0" if is_log else b"", 0, 0))
        self._stream(sock, (self.log if is_log else self.dump)(Cursor(body)))

    def _reply(
        self, request: Envelope, opcode: int, code: int, body: bytes, flags: int, session: int
    ) -> bytes:
        header = wire.HEADER.pack(opcode, code, flags, 1, 0, 0, 0x7FFFFFFF, len(body))
        message = header + body + bytes(4)
        length = len(message)
        return Envelope((2, 10), 0, (2, 10), session, request.request, 0, length).pack() + message

    def _stream(self, sock: socket.socket, parts: Parts) -> None:
        if self.form == "unsigned":
            sock.sendall(pack(">i", -1) + b"".join(parts))
        elif self.form == "signed":
            key = self.sign_with or self.key
            assert isinstance(key, rsa.RSAPrivateKey)
            signed = [
                # What ends a dump is in no block.
                part if part == DUMP_END
                else part + pack_str(key.sign(part, PKCS1v15(), hashes.SHA1()))
                for part in parts
            ]  # fmt: skip
            sock.sendall(pack(">i", 0) + pack_str(b"SHA1") + b"".join(signed))
        else:
            sock.sendall(b"TLS\0" + self.before_tls)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if isinstance(self.key, dsa.DSAPrivateKey):
                context.set_ciphers("DHE+aDSS:@SECLEVEL=0")
                context.load_dh_params(self.form)
            context.load_cert_chain(self.form)  # a PEM file
            with context.wrap_socket(sock, server_side=True) as wrapped:
                wrapped.sendall(b"".join(parts))
