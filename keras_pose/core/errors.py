"""The one exception for mistakes of the user."""

from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can fix: bad input, a wrong path, an unknown name.

    The message is one line: what is wrong, where, and how to fix it.
    Commands print it without a traceback (see `keras_pose.core.command`).
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a `name` that is not in `known`; `kind` is what it should name."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
