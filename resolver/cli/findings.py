"""What a check of `biaoshi doctor` says."""

from dataclasses import dataclass
from enum import StrEnum

from resolver.config import Config
from resolver.node_files import NodeFolder


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `hint` says what to do unless all is well."""

    level: Level
    subject: str
    words: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The node under examination."""

    folder: NodeFolder
    config: Config
