"""Shared by every command: flags, flag files, `--help`, and one-line errors."""

import sys
from collections.abc import Callable

from absl import app, flags

from keras_pose.core.errors import UserError


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs `main(positional_arguments)` with absl flags. On a `UserError`, prints one line and exits with status 2."""

    def guarded(argv: list[str]) -> int | None:
        try:
            return main(argv[1:])
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130

    def parse(argv: list[str]) -> list[str]:
        try:
            return parse_flags(argv, app.parse_flags_with_usage)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from error

    _show_in_help()
    app.run(guarded, flags_parser=parse)


def parse_flags(argv: list[str], parse: Callable[[list[str]], list[str]] = flags.FLAGS) -> list[str]:
    """Parses a command line with `parse`, flag files included. Raises UserError if a flag file cannot be read."""
    try:
        return parse(argv)
    except ValueError as error:  # a decoding error, or a NUL in the name of a nested file
        files = " ".join(word for word in argv if "flagfile" in word)
        raise UserError(f"{files} is not a readable text file ({error}); give the path of a .flags file") from error


def _show_in_help() -> None:
    """Makes `--help` list all of the project's flags, not only those of the main module."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] in ("keras_pose", "exporters", "mobile_demo"):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
