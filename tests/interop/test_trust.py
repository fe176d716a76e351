"""Values signed, keys certified and both checked by the command, on running nodes."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa

from protocol.json_forms import key_to_json
from protocol.key_files import PrivateKey, encode_private_key, generate_rsa_key
from protocol.types.hs_pubkey import encode_public_key
from resolver.cli.errors import ExitCode
from resolver.cli.main import main
from tests.interop.conftest import RUN
from tests.nodes import Topology


class Keys:
    """Key files of an identity."""

    def __init__(self, folder: Path, name: str, key: PrivateKey) -> None:
        self.private, self.public = folder / f"{name}.bin", folder / f"{name}-public.bin"
        self.data = encode_public_key(key.public_key())
        self.private.write_bytes(encode_private_key(key))
        self.public.write_bytes(self.data)


@pytest.mark.parametrize("kind", ["rsa", "dsa"])
def test_what_is_signed_is_checked_up_to_the_root(
    four_nodes: Topology, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    node = four_nodes.enterprise
    root, owner, handle = (f"88.118.5/{name}-{kind}.{RUN}" for name in ("root", "owner", "valve"))
    make = generate_rsa_key if kind == "rsa" else lambda: dsa.generate_private_key(2_048)
    root_keys, owner_keys = (Keys(tmp_path, name, make()) for name in ("root", "owner"))
    where = ["--node", str(node.folder)]

    def run(*words: str, code: int = ExitCode.OK) -> str:
        assert main([*words, *where]) == code, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.out + printed.err

    for name, keys in ((root, root_keys), (owner, owner_keys)):
        run("register", name, "-v", f"HS_PUBKEY:300=@{keys.public}", "--owner", node.admin)
    run("register", handle, "-v", "URL:1=https://e.org/", "--owner", node.admin)
    by_root = ["--signer", f"300:{root}", "--signing-key", str(root_keys.private), "--store"]
    by_owner = ["--signer", f"300:{owner}", "--signing-key", str(owner_keys.private), "--store"]
    run("trust", "certify", f"300:{root}", "--perm", "everything", *by_root)
    under = "handlesUnderThisPrefix:0.NA/88.118.5"
    run("trust", "certify", f"300:{owner}", "--perm", under, *by_root, "--json-form")
    told = run("trust", "sign", handle, *by_owner)
    assert f"{handle}: HS_SIGNATURE stored at index 400" in told

    check = ["trust", "check", handle]
    trusted = ["--trusted-key", str(root_keys.public)]
    told = run(*check, *trusted, "--complete")
    assert "HS_SIGNATURE at index 400: good" in told
    assert "clients of Handle.Net believe a root at 0.0/0.0 only" in told
    assert f"{handle}: every value anybody may read is signed" in told
    bootstrap = tmp_path / "bootstrap_handles"
    value = {"index": 300, "type": "HS_PUBKEY"}
    value["data"] = {"format": "key", "value": key_to_json(root_keys.data)}
    record = {"handle": "0.0/0.0", "values": [value]}
    bootstrap.write_text(json.dumps({"lastUpdate": 1, "handles": {"0.0/0.0": record}}))
    told = run(*check, "--bootstrap", str(bootstrap), code=ExitCode.REFUSED)
    assert "this key is trusted as that of 0.0/0.0 only" in told
    stranger = run(*check, "--trusted-key", str(owner_keys.public), code=ExitCode.REFUSED)
    assert "none of those trusted" in stranger
    late = run(*check, *trusted, "--at", "2199-01-01", code=ExitCode.REFUSED)
    assert late.count("it expired at") == 3
    run(*check, code=ExitCode.USAGE)

    other = f"{handle}-2"
    hidden = ["-v", "HS_SECKEY:400=not to be lost"]
    run("register", other, "-v", "URL:1=https://e.org/", *hidden, "--owner", node.admin)
    assert "stored at index 401" in run("trust", "sign", other, *by_owner)
    run("trust", "check", other, *trusted, "--complete")
    admin = ["--admin", node.admin, "--key", str(node.admin_key)]
    run("trust", "sign", other, *by_owner, *admin)
    run("trust", "check", other, *trusted, "--complete")
    run("trust", "sign", other, *by_owner, *admin, "--value", "1", "--value", "400")
    told = run("trust", "check", other, *trusted, code=ExitCode.REFUSED)
    assert "signed, but not there or not to be read: index 400" in told

    run("update", handle, "--add", "DESC:7=nobody signed this")
    assert json.loads(run(*check, *trusted, "--json"))["unsigned"] == [7]
    told = run(*check, *trusted, "--complete", code=ExitCode.REFUSED)
    assert f"{handle}: not signed by anything that holds: index 7" in told

    run("update", handle, "--modify", "URL:1=https://changed/")
    told = run(*check, *trusted, "--json", code=ExitCode.REFUSED)
    (signed,) = json.loads(told)["signed"]
    assert not signed["good"]
    assert "value at index 1 is not the one" in signed["steps"][0]["problems"][0]
    run("trust", "sign", handle, *by_owner)
    run(*check, *trusted)
    taken = run("trust", "sign", handle, *by_owner, "--index", "1", code=ExitCode.USAGE)
    assert "stands a URL value" in taken
    nothing = run("trust", "check", root.replace("root", "gone"), *trusted, code=ExitCode.REFUSED)
    assert "not registered" in nothing
