"""The flags shared by the exporters' commands, and functions that interpret them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags, logging

from exporters import compare
from exporters.contract import INPUT_DTYPES, PARTS, Form, default_part
from exporters.export import Check, export
from exporters.inference_graph import Source, find_run, load_source
from exporters.samples import Samples, load_samples
from keras_pose.core.errors import UserError
from keras_pose.io import atomic

PARITY_SPLITS = ("test", "validation", "train")


def define_source_flags(values: flags.FlagValues) -> None:
    """Flags of every exporter command: the run, and the data to compare on."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, an imported .keras file or the name of shipped weights; default: the newest run in runs/, or "
        "the shipped model.",
        flag_values=values,
    )
    flags.DEFINE_string("dataset", None, "Data for the parity check; default: the run's own.", flag_values=values)
    flags.DEFINE_integer("samples", 64, "Test samples for the check; 0 uses all.", lower_bound=0, flag_values=values)
    flags.DEFINE_float(
        "tolerance_mm", None, "3D tolerance of the check; default: the form's.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_string("json", None, "File to write the results to.", flag_values=values)


def define_export_flags(values: flags.FlagValues) -> None:
    """Flags of the commands that write a file."""
    define_source_flags(values)
    flags.DEFINE_string("output", None, "File to write.", flag_values=values)
    flags.DEFINE_enum("part", None, list(PARTS), "What to export; default: everything in the run.", flag_values=values)
    flags.DEFINE_enum("input", "uint8", INPUT_DTYPES, "Image dtype; the range is always 0 to 255.", flag_values=values)
    flags.DEFINE_bool("heatmaps", False, "Also output the heatmaps.", flag_values=values)
    flags.DEFINE_bool(
        "flip_test",
        False,
        "Also run on the mirrored image and average both heatmaps: takes twice as long, finds more joints.",
        flag_values=values,
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing file.", flag_values=values)
    flags.DEFINE_bool("parity", True, "Write the file only if it agrees with the Keras model.", flag_values=values)


def data_of(source: Source, values: flags.FlagValues) -> str:
    """--dataset, or the run's training data; raises UserError if model.json names none."""
    dataset = values.dataset or source.info.data.get("dataset")
    if not dataset:
        raise UserError(f"{source.path} does not name its training data; add --dataset=FOLDER")
    return dataset


def parity_samples(source: Source, part: str, values: flags.FlagValues) -> Samples:
    """The samples for the parity check."""
    return load_samples(data_of(source, values), PARITY_SPLITS, values.samples, source.info, pictures=part != "lifter")


def run_export(
    arguments: list[str],
    values: flags.FlagValues,
    suffix: str,
    convert: Callable[[Source, Form], Callable],
    **attributes: Any,
) -> int:
    """The body of an exporter's main: reads the flags, exports, prints and writes the results.

    Args:
        arguments, values: of the command line.
        suffix: the required suffix of --output.
        convert: for a source and a form, returns the function from graph and metadata to the file's bytes.
        attributes: of `Form`, from the exporter's own flags.
    """
    logging.set_verbosity(logging.WARNING)  # saving and converting log every step
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; flags are written --name=value")
    if not values.output or Path(values.output).suffix != suffix:
        raise UserError(f"--output={values.output or ''} must name a file that ends in {suffix}")
    if values.json and not values.parity:
        raise UserError("--json needs the results of the parity check; leave --noparity or --json out")
    output = Path(values.output)
    if output.exists() and not values.overwrite:
        raise UserError(f"{output} already exists; choose another --output, or add --overwrite")
    source = load_source(find_run(values.model))
    part = values.part or default_part(source.info.kind)
    form = Form(part, input_dtype=values.input, heatmaps=values.heatmaps, flip_test=values.flip_test, **attributes)
    check = Check(parity_samples(source, part, values), values.tolerance_mm) if values.parity else None
    result = export(source, form, output, convert(source, form), check)
    if result:
        print(compare.format_table([result]))
        if values.json:
            atomic.write_json(values.json, compare.to_dict([result]))
    print(f"wrote {output} and {output.name}.json")
    return 0
