"""The runs of a study: finds them, checks whether they are finished, and trains them one after the other."""

import glob
import signal
import subprocess
import sys
from pathlib import Path

from keras_pose.core.errors import UserError
from keras_pose.flags import resolve
from keras_pose.studies import study
from keras_pose.studies.study import Row
from keras_pose.training import run_folder


def find_rows(patterns: list[str]) -> list[Row]:
    """The rows of all patterns, each sorted by name; raises UserError if a pattern matches nothing."""
    paths = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern))
        if not found:
            raise UserError(f"--rows: no file matches {pattern}; run from the project's folder, or name flag files")
        paths += [Path(path) for path in found]
    rows = [study.read_row(path) for path in dict.fromkeys(paths)]
    if len({row.name for row in rows}) < len(rows):
        raise UserError("--rows: two files have the same name, which would be the name of their runs; rename one")
    return rows


def parse_seeds(texts: list[str]) -> list[int]:
    """The numbers in --seeds; raises UserError for anything else."""
    for text in texts:
        if not text.isdecimal():
            raise UserError(f"--seeds lists {text!r}, which is not a whole number; give numbers such as 0,1,2")
    return [int(text) for text in texts]


def arguments_of(row: Row, seed: int, changes: list[str]) -> list[str]:
    """The flags of one run, without --output."""
    return [f"--flagfile={row.flag_file}", *changes, f"--seed={seed}"]


def is_finished(row: Row, seed: int, folder: Path, changes: list[str]) -> bool:
    """Whether a run is finished; raises UserError if a run with other flags is in its place."""
    wanted = resolve(arguments_of(row, seed, changes))  # also checks every value
    if not (folder / run_folder.EVALUATION).is_file():
        return False
    # Resolved with the current flags, so flags added since then do not count unless they are used.
    if wanted != resolve([f"--flagfile={folder / run_folder.RESOLVED_FLAGS}"]):
        raise UserError(f"{folder} holds a finished run with other flags; choose another --output, or delete it")
    return True


def train(arguments: list[str], folder: Path) -> int:
    """Runs keras_pose.train. Returns its exit code if a signal stopped it, else 0; raises UserError if it failed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(folder.name + ".log")
    with open(log, "a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_pose.train", *arguments, f"--output={folder}"], stdout=file, stderr=file
        )
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # Ctrl-C reaches the run without this
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    for number in (signal.SIGINT, signal.SIGTERM):
        if code in (128 + number, -number):
            print(f"stopped; run the same command to resume {folder}", file=sys.stderr)
            return 128 + number
    if code:
        what = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed ({_last_error(log)})"
        raise UserError(f"{folder} {what}; see {log}, fix the problem and run the same command again")
    return 0


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no message"])[-1]
