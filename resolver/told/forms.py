"""Forms that members of answers share."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

VALUE_SCHEMA = {"$ref": "#/components/schemas/Value"}


class Told(msgspec.Struct, rename="camel", frozen=True):
    """Something that a node tells."""


class Page(Told, frozen=True):
    """What every page of a listing has: where the next one begins, "" behind the last."""

    next: str


# A time in UTC as RFC 3339 has it.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
# `300:0.NA/88.118.5`, or words where nobody is known.
Who = str
# Handle values as `protocol.json_forms` has them.
Values = Annotated[list[Any], Meta(extra_json_schema={"items": VALUE_SCHEMA})]
# One that no 64 bits hold is told as text.
Number = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^[0-9]+$")]
