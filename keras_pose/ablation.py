"""Trains the rows of an ablation, each with several seeds, and writes their table.

    python -m keras_pose.ablation

Each row is a flag file (ablations/*.flags) and each run a call of keras_pose.train into OUTPUT/ROW/seedN, its messages
in seedN.log beside it. Finished runs are skipped and stopped ones go on, so the command can be stopped and repeated,
and rows or seeds added later. --with changes all runs alike, to size them: --with="--passes=1 --e2e_epochs=2".
The table is printed, goes into --json, and into --doc between its marks.
"""

import glob
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from absl import flags

from keras_pose import command, study
from keras_pose.errors import UserError
from keras_pose.flags import build_experiment, define_flags, resolved_flags
from keras_pose.study import Row
from keras_pose.training import run_folder

FLAGS = flags.FLAGS


def define_own_flags(values: flags.FlagValues = FLAGS) -> None:
    """The command's flags."""
    flags.DEFINE_list(
        "rows", ["ablations/[0-9]*.flags"], "Flag files of the rows, or patterns of them.", flag_values=values
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "A run each for every row.", flag_values=values)
    flags.DEFINE_string("output", "runs/ablation", "Folder of the runs.", flag_values=values)
    flags.DEFINE_string(
        "with", "", "Flags of keras_pose.train that all runs get after those of their row.", flag_values=values
    )
    flags.DEFINE_string("doc", None, "Put the table into this document, between its marks.", flag_values=values)
    flags.DEFINE_string("json", None, "Write the numbers to this file.", flag_values=values)
    flags.DEFINE_bool(
        "train", True, "Train what is not finished; --notrain tells of finished runs.", flag_values=values
    )


def main(arguments: list[str]) -> int:
    """Runs the command; the exit code of a run that was stopped."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    rows = find_rows(FLAGS.rows)
    seeds = parse_seeds(FLAGS.seeds)
    output, changes = Path(FLAGS.output), shlex.split(FLAGS["with"].value)
    runs = [(row, seed, output / row.name / f"seed{seed}") for seed in seeds for row in rows]
    open_runs = [run for run in runs if not is_finished(*run, changes)]
    for i, (row, seed, folder) in enumerate(open_runs if FLAGS.train else []):
        print(f"run {i + 1} of {len(open_runs)}: {row.name}, seed {seed} into {folder}", flush=True)
        if code := train(arguments_of(row, seed, changes), folder):
            return code
    folders = {row.name: [f for r, _, f in runs if r is row and (f / run_folder.EVALUATION).is_file()] for row in rows}
    report(rows, {name: study.read_figures(found) for name, found in folders.items()})
    return 0


def find_rows(patterns: list[str]) -> list[Row]:
    """The rows of all patterns, each in the order of names; raises UserError where one finds none."""
    paths = []
    for pattern in patterns:
        found = sorted(glob.glob(pattern))
        if not found:
            raise UserError(f"--rows: no file fits {pattern}; run from the project's folder, or name flag files")
        paths += [Path(path) for path in found]
    rows = [study.read_row(path) for path in dict.fromkeys(paths)]
    if len({row.name for row in rows}) < len(rows):
        raise UserError("--rows: two files have the same name, which names their runs; rename one")
    return rows


def parse_seeds(texts: list[str]) -> list[int]:
    """The numbers of --seeds; raises UserError for what is none."""
    for text in texts:
        if not text.isdecimal():
            raise UserError(f"--seeds lists {text!r}, which is no whole number; give 0,1,2, say")
    return [int(text) for text in texts]


def arguments_of(row: Row, seed: int, changes: list[str]) -> list[str]:
    """The flags of one run, but --output."""
    return [f"--flagfile={row.flag_file}", *changes, f"--seed={seed}"]


def is_finished(row: Row, seed: int, folder: Path, changes: list[str]) -> bool:
    """Whether a run is done; raises UserError where one of other flags is in its place."""
    wanted = resolve(arguments_of(row, seed, changes))  # which checks every value
    if not (folder / run_folder.EVALUATION).is_file():
        return False
    # Through today's flags, so that a flag which is new since then does not count as long as it is not used.
    if wanted != resolve([f"--flagfile={folder / run_folder.RESOLVED_FLAGS}"]):
        raise UserError(f"{folder} holds a finished run of other flags; choose another --output, or delete it")
    return True


def resolve(arguments: list[str]) -> str:
    """`resolved_flags` of a run with these arguments of keras_pose.train; raises UserError where they are wrong."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string("flagfile", [], "", flag_values=values)
    define_flags(values)
    try:
        words = command.parse_flags(arguments, lambda words: values.read_flags_from_files(words, force_gnu=False))
        rest = values(["train", *words])[1:]
    except flags.Error as error:
        raise UserError(f"{shlex.join(arguments)}: {error}") from error
    if rest:
        raise UserError(f"{shlex.join(arguments)}: {rest[0]!r} is no flag; write --name=value")
    return resolved_flags(build_experiment(values), values)


def train(arguments: list[str], folder: Path) -> int:
    """One run of keras_pose.train; its exit code where a signal stopped it, else 0. A failed one raises UserError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(folder.name + ".log")
    with open(log, "a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_pose.train", *arguments, f"--output={folder}"], stdout=file, stderr=file
        )
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # Ctrl-C reaches the run by itself
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    for number in (signal.SIGINT, signal.SIGTERM):
        if code in (128 + number, -number):
            print(f"stopped; the same command goes on with {folder}", file=sys.stderr)
            return 128 + number
    if code:
        what = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed ({_last_error(log)})"
        raise UserError(f"{folder} {what}; see {log}, and run the same command again after mending")
    return 0


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no message"])[-1]


def report(rows: list[Row], figures: dict[str, dict[str, study.Spread | None]]) -> None:
    """Prints the tables, and writes them where the flags say."""
    text = "\n\n".join(part for part in (study.format_rows(rows, figures), study.format_order(rows, figures)) if part)
    print("\n" + text)
    if FLAGS.doc:
        study.put_between_marks(Path(FLAGS.doc), "table", text)
    if FLAGS.json:
        command.write_json(FLAGS.json, {"rows": study.to_dicts(rows, figures)})


if __name__ == "__main__":
    define_own_flags()
    command.run(main)
