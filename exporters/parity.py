"""Checks that exported files agree with the trained model, on real samples.

    python -m exporters.parity --model=runs/e2e pose.tflite pose.onnx

For each file, prints the distance of its joints from the Keras model's, the MPJPE of both against the labels, size and
operations. Exits with 1 if a file exceeds its tolerance (docs/deploy.md).
"""

from pathlib import Path

from absl import flags

from exporters import compare, exporter_of
from exporters import flags as shared_flags
from exporters.inference_graph import find_run, load_source
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.io import atomic


def check_files(arguments: list[str]) -> list[Path]:
    """The files named on the command line; raises UserError if one is missing or of an unknown kind."""
    if not arguments:
        raise UserError("no file given; name exported files, such as pose.tflite")
    for path in map(Path, arguments):
        exporter_of(path)
        if not path.is_file():
            raise UserError(f"no file {path}; check the name, or export it first")
    return [Path(name) for name in arguments]


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command; returns 1 if a file exceeds its tolerance."""
    paths = check_files(arguments)
    source = load_source(find_run(values.model))
    reference = {}
    results = []
    for path in paths:
        part = compare.read_part(path, source)
        flip_test = exporter_of(path).read_info(path).exported.flip_test
        if (part, flip_test) not in reference:
            samples = shared_flags.parity_samples(source, part, values)
            reference[part, flip_test] = samples, compare.keras_outputs(source, part, samples, flip_test)
        results.append(compare.compare_file(path, source, *reference[part, flip_test], values.tolerance_mm))
    print(compare.format_table(results))
    if values.json:
        atomic.write_json(values.json, compare.to_dict(results))
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    shared_flags.define_source_flags(flags.FLAGS)
    command.run(main)
