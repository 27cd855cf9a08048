"""The measurements as tables."""

OURS = ("keras_pose", "keras_pose_1")  # this project's contestants
COLUMNS = {  # of a contestant: heading and format
    "training_step_ms": ("train ms", "{:.0f}"),
    "training_cpu_ms": ("cpu ms", "{:.0f}"),
    "training_images_per_second": ("images/s", "{:.1f}"),
    "training_time_over_keras_pose": ("ratio", "{:.2f}"),
    "inference_step_ms": ("infer ms", "{:.0f}"),
    "inference_cpu_ms": ("cpu ms", "{:.0f}"),
    "inference_images_per_second": ("images/s", "{:.1f}"),
    "inference_time_over_keras_pose": ("ratio", "{:.2f}"),
    "first_step_s": ("first s", "{:.1f}"),
    "peak_memory_mib": ("MiB", "{:.0f}"),
    "outside_matrix_kernels_share": ("outside", "{:.0%}"),
    "heatmaps_difference": ("differs", "{:.0e}"),
}
LEGEND = [
    "cpu ms: processors' time of a step; ratio: time over keras_pose's, above 1 is slower; first s: build, first step;",
    "MiB: peak of memory; outside: share of the operations' time outside convolutions and matrix products; differs:",
    "heatmaps, from torch's, in shares of the largest",
]
LABELS = {
    "pipeline_images_per_second": "input pipeline alone (images/s)",
    "pipeline_cpu_ms_per_image": "input pipeline alone (processor ms/image)",
    "pipeline_over_training": "input pipeline over the fastest training",
    "loop_images_per_second": "loop: pipeline, augmentation, step (images/s)",
    "loop_cpu_ms_per_image": "loop (processor ms/image)",
    "bare_images_per_second": "bare step (images/s)",
    "bare_cpu_ms_per_image": "bare step (processor ms/image)",
    "loop_over_bare": "loop over bare step",
    "start_build_s": "building the step, as traced, as training does it (s)",
    "start_first_step_s": "build and first step, as traced, as training does it (s)",
    "start_first_step_cpu_s": "build and first step, as traced, as training does it (processor s)",
    "start_later_step_s": "later step, as traced, as training does it (s)",
    "start_later_step_cpu_s": "later step, as traced, as training does it (processor s)",
    "rewritten_build_s": "building the step, rewritten by TensorFlow (s)",
    "rewritten_first_step_s": "build and first step, rewritten by TensorFlow (s)",
    "rewritten_first_step_cpu_s": "build and first step, rewritten by TensorFlow (processor s)",
    "rewritten_later_step_s": "later step, rewritten by TensorFlow (s)",
    "rewritten_later_step_cpu_s": "later step, rewritten by TensorFlow (processor s)",
    "update_by_keras_ms": "update by Keras' Adam, each variable alone (ms)",
    "update_by_keras_cpu_ms": "update by Keras' Adam (processor ms)",
    "update_by_formulas_ms": "update of one vector by formulas (ms)",
    "update_by_formulas_cpu_ms": "update of one vector by formulas (processor ms)",
    "update_by_kernel_ms": "update of one vector by one kernel (ms)",
    "update_by_kernel_cpu_ms": "update of one vector by one kernel (processor ms)",
    "batch_norm_ms": "batch norm and its derivative, as in training (ms)",
    "batch_norm_cpu_ms": "batch norm, as in training (processor ms)",
    "one_kernel_ms": "batch norm and its derivative, with one kernel (ms)",
    "one_kernel_cpu_ms": "batch norm, with one kernel (processor ms)",
    "one_kernel_over_batch_norm": "one kernel over as in training",
    "one_worker_images_per_second": "one worker, one processor (images/s)",
    "two_workers_images_per_second": "two workers, one processor each (images/s)",
    "worker_scaling": "two workers over one",
    "forward_gflop_per_image": "convolutions, forward (GFLOP/image)",
    "training_gflop_per_image": "convolutions, training (GFLOP/image)",
    "matrix_peak_gflop_per_second": "a large matrix product (GFLOP/s)",
    "training_gflop_per_second": "fastest training (GFLOP/s)",
    "share_of_peak": "fastest training over the matrix product",
    "training_speed_over_torch": "training: fastest of keras_pose over fastest PyTorch",
    "inference_speed_over_torch": "inference: fastest of keras_pose over fastest PyTorch",
}


def add_ratios(found: dict[str, dict]) -> None:
    """Adds ratios between rows: training relative to the machine's peak, and the pipeline relative to training."""
    contestants = found.get("contest", {}).get("contestants", {})
    rates = [contestants[name]["training_images_per_second"] for name in OURS if name in contestants]
    rates += [row["bare_images_per_second"] for row in [found.get("loop")] if row]
    if not rates:
        return
    if "machine" in found:
        machine = found["machine"]
        machine["training_gflop_per_second"] = machine["training_gflop_per_image"] * max(rates)
        machine["share_of_peak"] = machine["training_gflop_per_second"] / machine["matrix_peak_gflop_per_second"]
    if "pipeline" in found:
        found["pipeline"]["pipeline_over_training"] = found["pipeline"]["pipeline_images_per_second"] / max(rates)


def format_results(found: dict[str, dict], left_out: dict[str, str] | None = None) -> list[str]:
    """Lines of tables: a section per row, then the rows that were left out, with the reasons."""
    lines = []
    for name, values in found.items():
        lines.append(f"--- {name}")
        if "contestants" in values:
            lines += _contest_lines(values)
        elif name == "batch_sizes":
            columns = {key: COLUMNS[key] for key in next(iter(values.values()))}
            lines += _table({f"batch {size}": figures for size, figures in values.items()}, columns)
        else:
            lines += [_labelled(key, value) for key, value in values.items()]
    return lines + [f"--- {name} was left out: {reason}" for name, reason in (left_out or {}).items()]


def _contest_lines(values: dict) -> list[str]:
    lines = _table(values["contestants"], COLUMNS) + LEGEND
    lines += [f"{name} did not take part: {reason}" for name, reason in values["left_out"].items()]
    return lines + [_labelled(key, value) for key, value in values["best"].items()]


def _labelled(key: str, value: float) -> str:
    return f"{LABELS[key]:55s} {value:10.2f}"


def _table(figures: dict[str, dict], columns: dict[str, tuple[str, str]]) -> list[str]:
    """One line per name, `-` for a missing value."""
    lines = [" " * 20 + "".join(f"{heading:>9s}" for heading, _ in columns.values())]
    for name, values in figures.items():
        cells = ("-" if values.get(key) is None else form.format(values[key]) for key, (_, form) in columns.items())
        lines.append(f"{name:20s}" + "".join(f"{cell:>9s}" for cell in cells))
    return lines


def rounded(value):
    """The same value with every number rounded to four digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
