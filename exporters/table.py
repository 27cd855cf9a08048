"""Exports every form of a model, compares each with Keras, measures them, and writes the tables in docs/deploy.md.

    python -m exporters.table --model=phone --output=exports/phone --doc=docs/deploy.md

Forms of the same model that already exist in --output are kept, together with their results. Latencies need an idle
machine: --nolatency skips them, and the same command without it measures only them later. Exits with 1 if a form
exceeds its tolerance.
"""

import dataclasses
import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
from absl import flags, logging

from exporters import benchmark, compare, exporter_of, onnx, tflite
from exporters import flags as shared_flags
from exporters.contract import Form, default_part, describe_export
from exporters.inference_graph import Source, build_inference_graph, find_run, load_source
from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.core.progress import progress
from keras_pose.io import atomic
from keras_pose.io.model_info import ModelInfo, sidecar_path
from keras_pose.studies.study import put_between_marks

FIGURES = "table.json"
# File name to form.
FILES = {
    "pose.tflite": "none",
    "pose_float16.tflite": "float16",
    "pose_dynamic.tflite": "dynamic",
    "pose_int8.tflite": "int8",
    "pose.onnx": "none",
    "pose_float16.onnx": "float16",
    "pose_float16_arithmetic.onnx": "float16_arithmetic",
}
# The network up to its heatmaps, without soft-argmax, scores and lifter: shows the cost of the head.
HEADLESS = {"pose.tflite": "heatmaps.tflite", "pose.onnx": "heatmaps.onnx"}
RUNTIMES = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}


def main(arguments: list[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command."""
    logging.set_verbosity(logging.WARNING)
    if arguments or not values.output:
        raise UserError("name the folder for the forms with --output=FOLDER; flags are written --name=value")
    source, output = load_source(find_run(values.model)), Path(values.output)
    if source.info.kind == "lifter":
        raise UserError(f"{source.path} is a lifter, which has no such forms; name a run that sees images")
    output.mkdir(parents=True, exist_ok=True)
    rows = convert_all(source, output, values)
    asked = {"dataset": values.dataset, "samples": values.samples, "tolerance_mm": values.tolerance_mm}
    missing = [name for name in FILES if rows[name].get("held_by", asked) != asked or "passed" not in rows[name]]
    if missing:
        part = default_part(source.info.kind)
        samples = shared_flags.parity_samples(source, part, values)
        expected = compare.keras_outputs(source, part, samples)
        for name in progress(missing, len(missing), "form", description="parity"):
            result = compare.compare_file(output / name, source, samples, expected, values.tolerance_mm)
            rows[name] |= dataclasses.asdict(result) | {"held_by": asked}
            atomic.write_json(output / FIGURES, rows)
    if values.latency:
        paths = [output / name for name in (*FILES, *HEADLESS.values())]
        for row in benchmark.measure_all([*paths, source.path], values.repetitions, values.rounds):
            name = row.model if (output / row.model).is_file() else "keras"
            rows.setdefault(name, {}).setdefault("median_ms", {})[str(row.threads)] = row.median_ms
        atomic.write_json(output / FIGURES, rows)
    text = format_markdown(rows)
    print(text)
    if values.json:
        atomic.write_json(values.json, rows)
    if values.doc:
        put_between_marks(Path(values.doc), f"forms of {source.path.name}", text)
    return 0 if all(rows[name]["passed"] for name in FILES) else 1


def convert_all(source: Source, output: Path, values: flags.FlagValues) -> dict[str, dict]:
    """Exports the forms missing in `output`; returns the known results per file.

    Raises UserError if `output` contains forms of another model.
    """
    figures = output / FIGURES
    rows = json.loads(figures.read_text()) if figures.is_file() else {}
    convert = _Converter(source, values)
    todo = [*FILES, *HEADLESS.values()]
    for name in progress(todo, len(todo), "form", description="converting"):
        path, form = output / name, _form(source, name)
        info = describe_export(form, source.info, source.path.name, source.weights)
        if name in HEADLESS.values():
            info = dataclasses.replace(
                info, export=dataclasses.replace(info.exported, outputs={"heatmaps": info.exported.outputs["heatmaps"]})
            )
        if path.is_file():
            made_of = exporter_of(path).read_info(path).exported
            if (made_of.run, made_of.model_sha256) != (info.exported.run, info.exported.model_sha256):
                raise UserError(f"{path} was made from another model than {source.path}; choose another --output")
            rows.setdefault(name, {})
            continue
        content, seconds = convert(name, form, info)
        info.write(sidecar_path(path))
        atomic.write_atomically(path, content)
        rows[name] = {"convert_s": seconds}
        atomic.write_json(figures, rows)
    return rows


def _form(source: Source, name: str) -> Form:
    headless = name in HEADLESS.values()
    part = "keypoints" if headless else default_part(source.info.kind)
    return Form(part, FILES.get(name, "none"), heatmaps=headless)


class _Converter:
    """Converts a model to the bytes of a form, and measures the time.

    All .tflite files start from the one in float32, which is made once; the time of each form includes it.
    """

    def __init__(self, source: Source, values: flags.FlagValues):
        self.source, self.values = source, values
        self.floats: dict[str, tuple[bytes, float]] = {}

    def __call__(self, name: str, form: Form, info: ModelInfo) -> tuple[bytes, float]:
        gc.collect()  # a converted W32 leaves gigabytes
        if name.endswith(".onnx"):
            return _timed(lambda: onnx.convert(self._graph(form, info), info))
        calibration = tflite.calibration_inputs(self.source, form, self.values) if form.quantization == "int8" else None
        key = " ".join(info.exported.outputs)
        if key not in self.floats:
            self.floats[key] = _timed(lambda: tflite.convert_float(self._graph(form, info), info))
        content, seconds = self.floats[key]
        quantized, more = _timed(lambda: tflite.quantize(content, info, calibration))
        return quantized, seconds + more

    def _graph(self, form: Form, info: ModelInfo) -> keras.Model:
        graph = build_inference_graph(self.source, form)
        return keras.Model(graph.inputs, {name: graph.output[name] for name in info.exported.outputs}, name="inference")


def _timed(work: Callable[[], bytes]) -> tuple[bytes, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


# --- text ------------------------------------------------------------------------------------------------------


def format_markdown(rows: dict[str, dict]) -> str:
    """The results as a Markdown table, followed by ratios between the forms, as far as known."""
    known = [row for row in rows.values() if "passed" in row]
    has_pose = any(row["mpjpe_mm"] is not None for row in known)
    keras_mm = f" (Keras {known[0]['keras_mpjpe_mm']:.2f})" if has_pose else ""
    head = ["file", "MB", "made in s", "2D px, largest / mean", "3D mm, largest / mean", f"MPJPE mm{keras_mm}"]
    lines = [[*head, "ms, 1 thread", "ms, 2 threads"], ["---"] * 8]
    for name in FILES:
        row = rows[name]
        lines.append(
            [
                f"`{name}`",
                f"{row['size_mb']:.1f}",
                f"{row['convert_s']:.0f}" if "convert_s" in row else "-",
                _pair(row, "px"),
                _pair(row, "mm"),
                "-" if row["mpjpe_mm"] is None else f"{row['mpjpe_mm']:.2f}",
                *(_ms(row, threads) for threads in benchmark.THREADS),
            ]
        )
    if "keras" in rows:
        lines.append(["Keras", *["-"] * 5, *(_ms(rows["keras"], threads) for threads in benchmark.THREADS)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([table, "", f"{known[0]['samples']} test images.", *_ratios(rows)])


def _ratios(rows: dict[str, dict]) -> Iterator[str]:
    """int8 relative to float32, and the float32 files relative to the same network without its head."""
    for threads in map(str, benchmark.THREADS):
        ms = {name: row["median_ms"][threads] for name, row in rows.items() if "median_ms" in row}
        parts = []
        if {"pose.tflite", "pose_int8.tflite"} <= ms.keys():
            factor = ms["pose.tflite"] / ms["pose_int8.tflite"]
            parts.append(f"int8 is {factor:.1f} times as fast as float32 in LiteRT")
        for name, bare in HEADLESS.items():
            if not {name, bare} <= ms.keys():
                continue
            share = ms[name] / ms[bare] - 1
            parts.append(
                f"the head adds {share:+.1%} to the network's {ms[bare]:.1f} ms in {RUNTIMES[Path(name).suffix]}"
            )
        if parts:
            yield f"With {threads} thread{'s' * (threads != '1')} {'; '.join(parts)}."


def _pair(row: dict, unit: str) -> str:
    largest, mean = row[f"largest_{unit}"], row[f"mean_{unit}"]
    return "-" if largest is None else f"{largest:.4f} / {mean:.4f}"


def _ms(row: dict, threads: int) -> str:
    return f"{row['median_ms'][str(threads)]:.1f}" if "median_ms" in row else "-"


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    shared_flags.define_source_flags(values)
    values.set_default("samples", 0)  # all of the test split
    tflite.define_calibration_flags(values)
    benchmark.define_repetition_flags(values)
    flags.DEFINE_string("output", None, "Folder for the forms and their results.", flag_values=values)
    flags.DEFINE_bool("latency", True, "Measure latencies; the machine should be idle.", flag_values=values)
    flags.DEFINE_string(
        "doc", None, "Document to put the tables into, between its marks `forms of NAME`.", flag_values=values
    )


if __name__ == "__main__":
    define_flags(flags.FLAGS)
    command.run(main)
