"""Fields of configuration dataclasses that are also flags: default and help are defined once, at the field."""

import dataclasses
from collections.abc import Iterable
from typing import Any

SAME = object()  # the flag's default is the field's


@dataclasses.dataclass(frozen=True)
class Option:
    """What turns a field into a flag.

    Attributes:
        help: the flag's help, which also documents the field.
        choices: the allowed values; None allows any.
        flag: the flag's name; by default the field's.
        flag_default: the flag's default, if it differs from the field's or the field has none.
    """

    help: str
    choices: tuple[str, ...] | None = None
    flag: str | None = None
    flag_default: object = SAME


def option(
    default: Any, help: str, choices: Iterable[str] | None = None, flag: str | None = None, flag_default: object = SAME
) -> Any:
    """A dataclass field that is also a flag; see `Option`. A field without a default has `dataclasses.MISSING`."""
    told = Option(help, tuple(choices) if choices else None, flag, flag_default)
    return dataclasses.field(default=default, metadata={"option": told})


def options_of(config: type) -> dict[str, Option]:
    """The options of a configuration dataclass by field name, without the fields that are not flags."""
    found = {field.name: field.metadata.get("option") for field in dataclasses.fields(config)}
    return {name: told for name, told in found.items() if told}
