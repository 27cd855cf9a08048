"""The records of a run: metrics.jsonl, TensorBoard, curves.png and sample images."""

import json
import os
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_pose.core import geometry
from keras_pose.core.skeleton import Skeleton
from keras_pose.io.atomic import cannot_write, write_atomically
from keras_pose.visualization import drawing, figures

NUM_SAMPLES = 6
SAMPLE_HEIGHT = 192


class Recorder:
    """Writes to a run folder; a resumed run drops the lines that it will write again.

    Args:
        directory: the run folder.
        last_step: the run's step at the resumed checkpoint; later lines are dropped.
        within_epoch: whether the checkpoint was written before its epoch was finished. If the epoch ends at
            `last_step`, its own line is dropped, too.
    """

    def __init__(self, directory: str | os.PathLike, last_step: int = 0, within_epoch: bool = False):
        self.directory = Path(directory)
        self._metrics = self.directory / "metrics.jsonl"
        last = {"step": last_step, "epoch": last_step - within_epoch}
        lines = [(line, json.loads(line)) for line in _whole_lines(self._metrics)]
        kept = [line for line, record in lines if record["step"] <= last[record["kind"]]]
        write_atomically(self._metrics, "".join(kept).encode())
        self._board = tf.summary.create_file_writer(str(self.directory / "tensorboard"))

    def step(self, phase: str, epoch: int, step: int, figures_of_step: dict) -> None:
        """Adds a line of kind `step`; `step` counts over the whole run."""
        self._append({"kind": "step", "phase": phase, "epoch": epoch, "step": step, **figures_of_step})
        self._scalars("step/", figures_of_step, step)

    def epoch(self, phase: str, epoch: int, step: int, figures_of_epoch: dict, timings: dict) -> None:
        """Adds a line of kind `epoch` and redraws curves.png; `timings` differ from run to run."""
        about = {"kind": "epoch", "phase": phase, "epoch": epoch, "step": step}
        self._append(about | figures_of_epoch | timings | {"time": round(time.time(), 1)})
        self._scalars("epoch/", figures_of_epoch | timings, step)
        figures.plot_curves(self.epochs(), self.directory / "curves.png")

    def epochs(self) -> list[dict]:
        """The lines of kind `epoch`."""
        records = [json.loads(line) for line in self._metrics.read_text().splitlines()]
        return [record for record in records if record["kind"] == "epoch"]

    def samples(self, name: str, step: int, batch: dict, outputs: dict, skeleton: Skeleton) -> None:
        """Draws predictions for the first examples of a batch to samples/<name>.png; does nothing without images."""
        if "image" not in batch:
            return
        rows = range(min(NUM_SAMPLES, len(batch["image"])))
        pictures = [
            _draw({k: v[i] for k, v in batch.items()}, {k: v[i] for k, v in outputs.items()}, skeleton) for i in rows
        ]
        sheet = drawing.contact_sheet(pictures, 2)
        drawing.save_png(self.directory / "samples" / f"{name}.png", sheet)
        with self._board.as_default():
            tf.summary.image("samples", sheet[None], step=step)

    def close(self) -> None:
        self._board.close()

    def _append(self, record: dict) -> None:
        try:
            with open(self._metrics, "a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise cannot_write(self._metrics, error) from error

    def _scalars(self, prefix: str, values: dict, step: int) -> None:
        with self._board.as_default():
            for name, value in values.items():
                tf.summary.scalar(prefix + name, value, step=step)
        self._board.flush()


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file, if it exists, without a last one that a full disk or a kill cut short."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return lines[:-1] if lines and not lines[-1].endswith("\n") else lines


def _draw(example: dict, predicted: dict, skeleton: Skeleton) -> np.ndarray:
    """One image with the predicted skeleton and its two views; the truth is gray."""
    size = example["image"].shape[:2]
    missing = np.full_like(example["keypoints_2d"], np.nan)  # a lifter predicts no keypoints
    return drawing.draw_result(
        example["image"],
        geometry.denormalize_keypoints(predicted.get("keypoints_2d", missing), size),
        predicted.get("pose_3d"),
        skeleton,
        SAMPLE_HEIGHT,
        true_keypoints_px=geometry.denormalize_keypoints(example["keypoints_2d"], size),
        true_valid=example["keypoint_valid"] > 0,
        true_pose_3d_mm=example["pose_3d"],
        true_pose_valid=example["pose_3d_valid"] > 0,
    )
