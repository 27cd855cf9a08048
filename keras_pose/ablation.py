"""Trains the rows of an ablation with several seeds and writes the table of results.

    python -m keras_pose.ablation

Each row is a flag file (configs/ablations/*.flags). Each run calls keras_pose.train with output to OUTPUT/ROW/seedN and
messages in seedN.log beside it. The command can be stopped and repeated: finished runs are skipped, interrupted ones
resume, and rows or seeds can be added later. --with changes all runs alike, for example to shorten them:
--with="--passes=1 --e2e_epochs=2". The table is printed, and written to --json and between the marks in --doc.
--figures keeps the figures of finished runs in a small file, with which a study continues on another machine.
"""

import shlex
from pathlib import Path

from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.flags import resolve
from keras_pose.io import atomic
from keras_pose.studies import runs, study
from keras_pose.studies.kept_figures import KeptFigures
from keras_pose.studies.study import Row

FLAGS = flags.FLAGS


def define_own_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    flags.DEFINE_list(
        "rows", ["configs/ablations/[0-9]*.flags"], "Flag files of the rows, or glob patterns.", flag_values=values
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; every row runs once with each.", flag_values=values)
    flags.DEFINE_string("output", "runs/ablation", "Folder for the runs.", flag_values=values)
    flags.DEFINE_string(
        "with", "", "Flags of keras_pose.train for all runs, after those of the row.", flag_values=values
    )
    flags.DEFINE_string("doc", None, "Document to put the table into, between its marks.", flag_values=values)
    flags.DEFINE_string("mark", "table", "The marks: <!-- MARK --> and <!-- end of MARK -->.", flag_values=values)
    flags.DEFINE_string("json", None, "File to write the numbers to.", flag_values=values)
    flags.DEFINE_string(
        "figures",
        None,
        "File that keeps the figures of finished runs; runs in it are not trained again, even if "
        "their folders are gone.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "train", True, "Train unfinished runs; --notrain only reports the finished ones.", flag_values=values
    )


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code of a run that was stopped."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    rows = runs.find_rows(FLAGS.rows)
    seeds = runs.parse_seeds(FLAGS.seeds)
    output, changes = Path(FLAGS.output), shlex.split(FLAGS["with"].value)
    all_runs = [(row, seed, output / row.name / f"seed{seed}") for seed in seeds for row in rows]
    kept = KeptFigures(FLAGS.figures)
    found = {run: _figures(kept, *run, changes) for run in all_runs}
    open_runs = [run for run in all_runs if found[run] is None]
    for i, run in enumerate(open_runs if FLAGS.train else []):
        row, seed, folder = run
        print(f"run {i + 1} of {len(open_runs)}: {row.name}, seed {seed} into {folder}", flush=True)
        if code := runs.train(runs.arguments_of(row, seed, changes), folder):
            return code
        found[run] = _figures(kept, *run, changes)
    report(
        rows,
        {
            row.name: study.spreads([figures for run, figures in found.items() if run[0] is row and figures])
            for row in rows
        },
    )
    return 0


def _figures(kept: KeptFigures, row: Row, seed: int, folder: Path, changes: list[str]) -> dict[str, float] | None:
    """The figures of a run, from its folder or from the file; None if it is not finished."""
    flags_of_run = resolve(runs.arguments_of(row, seed, changes))
    if not runs.is_finished(row, seed, folder, changes):
        return kept.get(row.name, seed, flags_of_run)
    figures = study.read_run(folder)
    kept.put(row.name, seed, flags_of_run, figures)
    return figures


def report(rows: list[Row], figures: dict[str, dict[str, study.Spread | None]]) -> None:
    """Prints the tables and writes them to the files named by the flags."""
    text = "\n\n".join(part for part in (study.format_rows(rows, figures), study.format_order(rows, figures)) if part)
    print("\n" + text)
    if FLAGS.doc:
        study.put_between_marks(Path(FLAGS.doc), FLAGS.mark, text)
    if FLAGS.json:
        atomic.write_json(FLAGS.json, {"rows": study.to_dicts(rows, figures)})


if __name__ == "__main__":
    define_own_flags()
    command.run(main)
