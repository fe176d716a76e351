"""curl itself, the values its tests write, and who it logs in as."""

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from tests.interop.conftest import HttpsStand

URL = {"index": 1, "type": "URL", "data": {"format": "string", "value": "https://example.org/一"}}
ADMIN_FORM = {"handle": "88/USER", "index": 301, "permissions": "111111111111"}
ADMIN = {"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": ADMIN_FORM}}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> int:
        return int(self.json["responseCode"])


@dataclass(frozen=True)
class Curl:
    """curl with one base address and the options that all its requests share."""

    base: str
    options: tuple[str, ...] = ()

    def __call__(self, path: str, *options: str, body: object = None) -> Reply:
        sent: list[str] = []
        if body is not None:
            sent = ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
        words = ["curl", "-sS", "-i", "--max-time", "10", *self.options, *options, *sent]
        ended = subprocess.run(
            [*words, self.base + path], capture_output=True, text=True, timeout=20, check=False
        )
        assert ended.returncode == 0, ended.stderr
        head, _, text = ended.stdout.partition("\n\n")
        status, *lines = head.splitlines()
        pairs = [line.split(": ", 1) for line in lines if ": " in line]
        headers = {name.lower(): value for name, value in pairs}
        return Reply(int(status.split()[1]), headers, text)


def login(node: "HttpsStand", password: str) -> str:
    """The colon of "301:88/USER" is written %3A, the password as it is."""
    return f"{quote(node.user, safe='')}:{password}"
