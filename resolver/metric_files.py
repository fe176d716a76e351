"""The mapped files through which the processes of a node share what they count.

prometheus-client looks for its folder when it is imported, so this module comes before it and
imports nothing of it. Files are named for what a process is ("worker1"), not for its number: one
that is replaced goes on counting where the dead one stopped, and however often it dies no file is
left behind. A mapped file with holes kills its process when the disk is full, so each is filled
before it is mapped.
"""

import contextlib
import os
import shutil
from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FILE_OCTETS = 131_072  # some 1,000 numbers, three times what there is; longer files grow
FILE_KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax")

_process = ["supervisor"]


def share_metrics(folder: Path) -> None:
    """Empty the folder and make this process and its children share their numbers there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[FOLDER_VARIABLE] = str(folder)
    name_process(_process[0])


def name_process(name: str) -> None:
    """Say what this process is; call it in a child before anything is counted."""
    _process[0] = name
    folder = os.environ.get(FOLDER_VARIABLE)
    for kind in FILE_KINDS if folder else ():
        with contextlib.suppress(OSError), open(f"{folder}/{kind}_{name}.db", "ab") as file:
            os.posix_fallocate(file.fileno(), 0, FILE_OCTETS)


def process_name() -> str:
    """Return what this process is."""
    return _process[0]
