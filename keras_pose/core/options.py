"""Fields of configuration dataclasses that are flags too: the default and the help stand once, at the field."""

import dataclasses
from collections.abc import Iterable

SAME = object()  # the flag's default is the field's


@dataclasses.dataclass(frozen=True)
class Option:
    """What makes a field a flag.

    Attributes:
        help: of the flag, and the documentation of the field.
        choices: the values that the flag takes; None for any.
        flag: the flag's name, by default the field's.
        flag_default: where the flag has another default than the field, or the field has none.
    """

    help: str
    choices: tuple[str, ...] | None = None
    flag: str | None = None
    flag_default: object = SAME


def option(default, help: str, choices: Iterable[str] | None = None, flag=None, flag_default=SAME):
    """A dataclass field that is a flag; see `Option`. Pass `dataclasses.MISSING` for a field without a default."""
    told = Option(help, tuple(choices) if choices else None, flag, flag_default)
    return dataclasses.field(default=default, metadata={"option": told})


def options_of(config: type) -> dict[str, Option]:
    """The options of a configuration dataclass, by the name of their field; other fields are no flags."""
    found = {field.name: field.metadata.get("option") for field in dataclasses.fields(config)}
    return {name: told for name, told in found.items() if told}
