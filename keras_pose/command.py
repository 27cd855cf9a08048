"""What every command shares: one-line errors, JSON results, progress with rate and time left."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

from keras_pose.errors import UserError


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs `main(positional_arguments)` under absl flags; exits 2 with one line on a `UserError`."""

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
    """What `parse` makes of a command line, whose flag files it reads; raises UserError for one that is no text."""
    try:
        return parse(argv)
    except ValueError as error:  # of the decoding, and of a NUL in the name of a nested file
        files = " ".join(word for word in argv if "flagfile" in word)
        raise UserError(f"{files} is no text, or names a file that is none ({error}); name a .flags file") from error


def _show_in_help() -> None:
    """Lets `--help` tell the project's flags wherever they are defined, not the main module's alone."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] in ("keras_pose", "exporters", "mobile_demo"):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def progress(items: Iterable, total: int | None, unit: str, initial: int = 0, description: str = "") -> tqdm:
    """A progress bar with rate and time left; on a pipe it prints a line every ten seconds."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        initial=initial,
        unit=unit,
        desc=description or None,
        mininterval=0.2 if on_terminal else 10.0,
        maxinterval=60.0,
        dynamic_ncols=on_terminal,
    )


def write_json(path: str | os.PathLike, values) -> None:
    """Writes `values` as indented JSON, whole or not at all."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` under a temporary name beside `path` and onto the disk, then renames it.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        os.replace(partial, path)
    except OSError as error:
        discard(partial)
        raise cannot_write(path, error) from error


def discard(path: Path) -> None:
    """Removes what was half written, where that can be done."""
    with contextlib.suppress(OSError):
        path.unlink()


def cannot_write(path: str | os.PathLike, error: Exception) -> UserError:
    """The error for a file that could not be written: a full disk, a read-only folder, a file in the folder's place."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
    return UserError(f"cannot write {path}: {reason}; free space or choose another folder")
