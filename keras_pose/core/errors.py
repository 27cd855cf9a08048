"""The one exception that stands for a mistake of the user's."""


class UserError(ValueError):
    """Something that the user can mend: bad input, a wrong path, an unknown name.

    Its message is one line that says what is wrong, where, and the mend.
    Commands print it without a traceback (see `keras_pose.core.command`).
    """


def unknown_name(kind: str, name: str, known) -> UserError:
    """An error for `name` that is none of `known`; `kind` says what it should name."""
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
