"""The particulars of an enterprise that applies for a prefix: table 1 of what is reported upward.

    {"name": "..", "kind": "..", "industry": "C3911",
     "address": {"province": "..", "city": "..", "district": "..", "street": ".."},
     "certificate": {"type": "..", "number": ".."},
     "legalPerson": {"name": "..", ...}, "contacts": [{"name": "..", "phone": "..", ...}, ...],
     "systems": {"registration": "..", "data": "..", "backup": "..", "resolution": ".."},
     "escrowProvider": "..", "website": "https://..", "serviceAddresses": ["..", ...]}

People are taken out of them and kept apart, encrypted (`registry.people`).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from registry.office_parameters import Form, Line, Name, Word, shape

CONTACTS_MAX = 8
SERVICE_ADDRESSES_MAX = 16
PHONE_LETTERS_MAX = 32
EMAIL_LETTERS_MAX = 254  # of an address that mail can be sent to
WEBSITE_LETTERS_MAX = 300

_PHONE = shape(r"\A\+?[0-9][0-9 ()/-]{3,}\Z", "a number such as +86 10 5550 0100")
_EMAIL = shape(r"\A[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\Z", "an address such as li@example.cn")
_WEBSITE = shape(r"\Ahttps?://[^\s\x00-\x1f]+\Z", "an address such as https://example.cn/")
_INDUSTRY = shape(r"\A[A-T]([0-9]{2,4})?\Z", "a code of GB/T 4754 such as C3421")

Phone = Annotated[str, Meta(max_length=PHONE_LETTERS_MAX, pattern=_PHONE)]
Email = Annotated[str, Meta(max_length=EMAIL_LETTERS_MAX, pattern=_EMAIL)]
Website = Annotated[str, Meta(max_length=WEBSITE_LETTERS_MAX, pattern=_WEBSITE)]
# GB/T 4754: a section, then two digits of a division, three of a group, four of a class.
Industry = Annotated[str, Meta(pattern=_INDUSTRY)]


class Person(Form, omit_defaults=True):
    """Somebody; all of it is personal."""

    name: Name
    phone: Phone | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType = msgspec.UNSET
    id_number: Word | msgspec.UnsetType = msgspec.UNSET


class Address(Form, omit_defaults=True):
    """Where the enterprise is."""

    province: Name
    city: Name
    district: Name
    street: Line | msgspec.UnsetType = msgspec.UNSET


class Certificate(Form):
    """What shows that the enterprise exists."""

    type: Word
    number: Word


class Systems(Form):
    """Where its systems stand."""

    registration: Line
    data: Line
    backup: Line
    resolution: Line


class Particulars(Form, kw_only=True, omit_defaults=True):
    """What is said of the enterprise, people left out."""

    name: Name
    kind: Word
    address: Address
    certificate: Certificate
    industry: Industry
    systems: Systems
    escrow_provider: Name | msgspec.UnsetType = msgspec.UNSET
    website: Website | msgspec.UnsetType = msgspec.UNSET
    service_addresses: Annotated[tuple[Line, ...], Meta(max_length=SERVICE_ADDRESSES_MAX)] = ()


class WholeParticulars(Particulars, kw_only=True):
    """The same with the people, as an applicant sends them."""

    legal_person: Person
    contacts: Annotated[list[Person], Meta(min_length=1, max_length=CONTACTS_MAX)]

    def without_people(self) -> Particulars:
        """Return what may be stored and journaled in clear."""
        fields = {name: getattr(self, name) for name in Particulars.__struct_fields__}
        return Particulars(**fields)
