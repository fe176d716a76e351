"""What `biaoshi doctor` says of the certificate of the HTTPS port."""

import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from resolver.cli.findings import Finding, Level, Subject
from resolver.tls import Certificate, TlsError

DAY_S = 86_400
EXPIRES_SOON_DAYS = 30  # certificate authorities and their tools renew at about that age


def check_tls(subject: Subject) -> Iterator[Finding]:
    """Look at the operator's certificate: it serves with its key, and for a while yet."""
    tls = subject.config.tls
    if not tls.certificate:
        yield Finding(Level.OK, "tls", "the node makes its own certificate")
        return
    folder = subject.config.folder
    certificate, key = folder / tls.certificate, folder / tls.key
    try:
        # What serving does: it finds files that are missing, damaged, or not of one pair.
        expires_s = Certificate(certificate, key).expires_s
        mode = stat.S_IMODE(key.stat().st_mode)
    except TlsError as error:
        yield Finding(Level.PROBLEM, "tls", str(error), "mend tls.certificate and tls.key")
        return
    except OSError as error:
        words = f"{error.filename}: {error.strerror}"
        yield Finding(Level.PROBLEM, "tls", words, "mend tls.key")
        return
    if mode & 0o077:
        words = f"{key} can be read by others (mode {mode:04o})"
        yield Finding(Level.PROBLEM, "tls", words, f"chmod 600 {key}")
    yield _term(str(certificate), expires_s)


def _term(name: str, expires_s: float) -> Finding:
    until = datetime.fromtimestamp(expires_s, UTC).date()
    left_days = (expires_s - time.time()) / DAY_S
    if left_days <= 0:
        return Finding(Level.PROBLEM, "tls", f"{name} expired on {until}", "renew it")
    words = f"{name} is valid until {until}"
    if left_days < EXPIRES_SOON_DAYS:
        return Finding(Level.WARNING, "tls", f"{words}, {left_days:.0f} days", "renew it soon")
    return Finding(Level.OK, "tls", words)
