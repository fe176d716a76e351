"""What is told of templates."""

from resolver.told.forms import Count, Page, Time, Told, Who


class Attribute(Told, frozen=True):
    """One attribute of a template.

    Attributes:
        name: the type of its values.
        type: string, number, boolean, date, url, identifier, enumeration or list.
        alias: what people call it.
        required: whether every identifier has it.
        length: at most so many characters, of a list items; 0: as many as ever fit.
        values: those of an enumeration.
        item_type: the type of a list's items.
    """

    name: str
    type: str
    alias: str = ""
    required: bool = False
    length: Count = 0
    values: tuple[str, ...] = ()
    item_type: str = ""


class Withdrawn(Told, frozen=True):
    """When, by whom and why a version was withdrawn."""

    time: Time
    by: Who
    reason: str


class Template(Told, frozen=True):
    """A version of a template as the node has it.

    Attributes:
        prefix: whose it is.
        code: unique under the prefix.
        version: from 1.
        title: for people.
        industry: code of GB/T 4754.
        active_carrier: whether it is for active carriers.
        attributes: in the order of their values, from index 2000 on.
        registered: when, in RFC 3339.
        by: who registered it, `300:0.NA/88.118.5`.
        withdrawn: None while identifiers may be made from it.
    """

    prefix: str
    code: str
    version: Count
    title: str
    industry: str
    active_carrier: bool
    attributes: tuple[Attribute, ...]
    registered: Time
    by: Who
    withdrawn: Withdrawn | None = None

    @property
    def name(self) -> str:
        """Code with prefix, as rows may name it: `88.118.5:auto-part`."""
        return f"{self.prefix}:{self.code}"


class OneTemplate(Told, frozen=True):
    """An answer with one version; `registered` is False where it was there already."""

    template: Template
    registered: bool = True


class TemplatePage(Page, frozen=True):
    """A page of versions."""

    templates: list[Template]


class MadeHandle(Told, frozen=True):
    """What an identifier was made from.

    Attributes:
        handle: the identifier.
        template: code with prefix.
        version: of the template.
        replaced: other values stood there.
    """

    handle: str
    template: str
    version: Count
    replaced: bool = False
