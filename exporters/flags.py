"""The flags that the exporters' commands share, and what they make of them."""

from collections.abc import Callable
from pathlib import Path

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
    """Flags of every command here: the run and the data it is held against."""
    flags.DEFINE_string(
        "model",
        None,
        "A run folder, an imported .keras file or the name of a shipped weight; by default the newest run under runs/, "
        "else what ships.",
        flag_values=values,
    )
    flags.DEFINE_string("dataset", None, "Data for parity; by default the run's own.", flag_values=values)
    flags.DEFINE_integer("samples", 64, "Test samples for parity; 0 for all.", lower_bound=0, flag_values=values)
    flags.DEFINE_float(
        "tolerance_mm", None, "3D tolerance of parity, in place of the form's own.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_string("json", None, "Write the figures to this file.", flag_values=values)


def define_export_flags(values: flags.FlagValues) -> None:
    """Flags of the commands that write a file."""
    define_source_flags(values)
    flags.DEFINE_string("output", None, "The file to write.", flag_values=values)
    flags.DEFINE_enum(
        "part", None, list(PARTS), "What to export; by default all that the run holds.", flag_values=values
    )
    flags.DEFINE_enum("input", "uint8", INPUT_DTYPES, "Type of the image; both mean 0 to 255.", flag_values=values)
    flags.DEFINE_bool("heatmaps", False, "Give the heatmaps too.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace a file that is there already.", flag_values=values)
    flags.DEFINE_bool(
        "parity", True, "Hold the file against the Keras model before it gets its name.", flag_values=values
    )


def data_of(source: Source, values: flags.FlagValues) -> str:
    """--dataset, or the data that the run was trained on; raises UserError where model.json names none."""
    dataset = values.dataset or source.info.data.get("dataset")
    if not dataset:
        raise UserError(f"{source.path} names no data that it was trained on; add --dataset=FOLDER")
    return dataset


def parity_samples(source: Source, part: str, values: flags.FlagValues) -> Samples:
    """The samples that parity runs over."""
    return load_samples(data_of(source, values), PARITY_SPLITS, values.samples, source.info, pictures=part != "lifter")


def run_export(
    arguments: list[str], values: flags.FlagValues, suffix: str, convert: Callable[[Source, Form], Callable], **form
) -> int:
    """The body of an exporter's main: reads the flags, exports, prints and writes the figures.

    Args:
        arguments, values: of the command line.
        suffix: that --output must have.
        convert: gives, for a source and a form, the function from graph and metadata to the file's bytes.
        form: attributes of `Form` that the exporter's own flags set.
    """
    logging.set_verbosity(logging.WARNING)  # saving and converting tell of each step
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    if not values.output or Path(values.output).suffix != suffix:
        raise UserError(f"--output={values.output or ''} must name a file that ends in {suffix}")
    if values.json and not values.parity:
        raise UserError("--json takes the figures of the comparison; leave --noparity or --json out")
    output = Path(values.output)
    if output.exists() and not values.overwrite:
        raise UserError(f"{output} is there already; choose another --output, or add --overwrite")
    source = load_source(find_run(values.model))
    part = values.part or default_part(source.info.kind)
    form = Form(part, input_dtype=values.input, heatmaps=values.heatmaps, **form)
    check = Check(parity_samples(source, part, values), values.tolerance_mm) if values.parity else None
    result = export(source, form, output, convert(source, form), check)
    if result:
        print(compare.format_table([result]))
        if values.json:
            atomic.write_json(values.json, compare.to_dict([result]))
    print(f"wrote {output} and {output.name}.json")
    return 0
