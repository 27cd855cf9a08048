"""Feeds damaged files to every reader: each returns, or raises UserError with one line, within a time limit.

    python -m tests.faults.fuzz --inputs=10000 --seed=0

A good file is cut, has bytes changed, dropped, doubled or swapped for words that its format knows, or is replaced by
noise. The inputs are spread over the readers of `tests.faults.readers`; a reader that is slow gets fewer. What crashes
the interpreter leaves the input and the reader's name in the folder that `--keep` names.
"""

import argparse
import faulthandler
import json
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_pose.core.errors import UserError

SECONDS_EACH = 10.0  # a busy machine may be slow; a hang is longer
WORDS = [b"0", b"-1", b"1e999", b"nan", b"NaN", b"Infinity", b"null", b"{}", b"[]", b'""', b"4294967295", b"../../a"]
WORDS += [b"\x00" * 8, b"\xff" * 8, b"99999999999999999999", b"true", b"\n", b",", b"-9223372036854775809", b"1" * 40]


class Hang(BaseException):
    """A reader takes too long; no reader's `except Exception` stops it."""


@dataclass(frozen=True)
class Reader:
    """A reader of foreign files.

    Attributes:
        file: the name of the file that is damaged.
        make: writes the good files into a folder.
        read: reads the folder.
        share: of the inputs.
        allowed: what it may raise beside UserError.
    """

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    share: float = 1.0
    allowed: tuple[type[Exception], ...] = ()


def damage(good: bytes, rng: np.random.Generator) -> bytes:
    """A variant of a file."""
    content = bytearray(good)
    kind = rng.integers(10)
    if kind == 0:
        return rng.bytes(int(rng.integers(0, 300)))
    if kind == 1:
        return bytes(content[: rng.integers(0, len(content) + 1)])
    for _ in range(rng.integers(1, 5)):
        near = len(content) if rng.random() < 0.6 else min(len(content), 400)  # headers matter more
        place = int(rng.integers(0, near + 1)) if near else 0
        what = rng.integers(4)
        if what == 0 and place < len(content):
            content[place] = rng.integers(256)
        elif what == 1:
            word = WORDS[rng.integers(len(WORDS))]
            content[place : place + rng.integers(0, len(word) + 1)] = word
        elif what == 2:
            del content[place : place + int(rng.integers(1, 30))]
        else:
            content[place:place] = content[place : place + int(rng.integers(1, 60))]
    return bytes(content)


def fuzz(reader: Reader, folder: Path, count: int, rng: np.random.Generator) -> tuple[float, list[str]]:
    """Feeds `count` inputs.

    Returns:
        The longest time of one in seconds, and what the reader raised that it should not, each kind once.
    """
    folder.mkdir(parents=True)
    reader.make(folder)
    path = folder / reader.file
    good, longest, failures = path.read_bytes(), 0.0, {}
    reader.read(folder)  # raises if the good file is not good
    for i in range(count):
        path.write_bytes(damage(good, rng))
        began = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
        faulthandler.dump_traceback_later(2 * SECONDS_EACH, exit=True)  # for a hang in compiled code
        try:
            reader.read(folder)
        except UserError as error:
            if "\n" in str(error):
                failures.setdefault("lines", f"input {i}: more than one line: {error}")
        except reader.allowed:
            pass
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"input {i}: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            failures.setdefault((type(error), place.filename, place.lineno), text)
            path.with_name(f"failed_{i}").write_bytes(path.read_bytes())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
        longest = max(longest, time.perf_counter() - began)
    return longest, list(failures.values())


def on_alarm(*_) -> None:
    raise Hang(f"over {SECONDS_EACH} s")


def main() -> None:
    from tests.faults.readers import READERS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10000, help="How many files, over all readers.")
    parser.add_argument("--seed", type=int, default=0, help="Of the damage.")
    parser.add_argument("--only", default="", help="Readers whose name holds this.")
    parser.add_argument("--keep", type=Path, help="The folder for the inputs; by default a temporary one.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)
    chosen = {name: reader for name, reader in READERS.items() if arguments.only in name}
    shares = sum(reader.share for reader in chosen.values())
    figures, failures, began = {}, [], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, reader) in enumerate(chosen.items()):
            count = int(np.ceil(arguments.inputs * reader.share / shares))
            started = time.perf_counter()
            rng = np.random.default_rng((arguments.seed, number))
            longest, failed = fuzz(reader, (arguments.keep or Path(temporary)) / name.replace(" ", "_"), count, rng)
            seconds = time.perf_counter() - started
            figures[name] = {"inputs": count, "seconds": round(seconds, 2), "longest_seconds": round(longest, 3)}
            print(f"{name}: {count} inputs, {seconds:.1f} s, the longest {longest:.3f} s", flush=True)
            print("".join(f"FAILED {name}, {text}\n" for text in failed), end="", flush=True)
            failures += failed
    total = sum(figure["inputs"] for figure in figures.values())
    print(f"{total} inputs, {len(figures)} readers, {time.perf_counter() - began:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
