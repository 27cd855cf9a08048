"""The alternative to a finder: the pose network itself, run over an image pyramid, with its heatmaps averaged.

    python -m keras_pose.finding.pyramid --photos=photos --labels=labels.npz --panoramas=package/hdri --limit=25

HRNet is fully convolutional, so its weights work for images of any size. At each level of the pyramid, people who are
about as tall as in a training crop show peaks for all their joints. Prints the same table as
`keras_pose.finding.score`; docs/find.md compares the two.
"""

import time
from collections.abc import Sequence

import cv2
import numpy as np
from absl import flags

from keras_pose.core import command
from keras_pose.core.errors import UserError
from keras_pose.finding import score
from keras_pose.finding.photos import read_photos
from keras_pose.finding.placed import held_out_photos
from keras_pose.inference.finder import PersonFinder
from keras_pose.io import atomic
from keras_pose.weights import DEFAULT_WEIGHTS, SHIPPED_WEIGHTS

FLAGS = flags.FLAGS
LEVELS = (64, 96, 160, 256)  # sides in pixels of the square that holds the image
PERSON = 0.8  # height of a person in a training crop, as a share of the crop's height
WIDTH = 0.45  # width of a person's box, as a share of its height
STRIDE = 4


class PyramidFinder:
    """A finder's `run` (see `PersonFinder`) from a pose network; its maps have the finest level's resolution.

    Args:
        networks: for each side S, a function from (1, S, S, 3) float32 to heatmaps (1, S/4, S/4, J).
        crop_height: height in pixels of the crops that the network was trained on.
        peak: the heatmap value that counts as 1.
    """

    def __init__(self, networks: dict, crop_height: int, peak: float):
        self._networks, self._crop_height, self._peak = networks, crop_height, peak
        self.side = max(networks)

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        cells = self.side // STRIDE
        centers, boxes = np.zeros((cells, cells), np.float32), np.zeros((cells, cells, 4), np.float32)
        for side, network in self._networks.items():
            level = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            heatmaps = np.asarray(network(level[None].astype(np.float32)))[0] / self._peak  # (S/4, S/4, J)
            height = PERSON * self._crop_height / side  # of a person, as a share of the image
            reach = max(1, round(height * side / STRIDE)) | 1
            window = np.ones((reach, max(1, round(WIDTH * reach)) | 1), np.uint8)
            joints = cv2.dilate(heatmaps.clip(0, 1), window)  # each joint's best peak in a person's box around a cell
            joints = joints.reshape(*heatmaps.shape)
            score = cv2.GaussianBlur(joints.mean(-1), (0, 0), 0.25 * reach)
            score = cv2.resize(score, (cells, cells), interpolation=cv2.INTER_LINEAR)
            better = score > centers
            centers[better] = score[better]
            boxes[better] = np.array([WIDTH * height, height, WIDTH * height, height]) / 2
        return {"centers": centers, "boxes": boxes}


def load(levels: Sequence[int] = LEVELS) -> PyramidFinder:
    """The shipped pose model's network at each level."""
    import keras

    from keras_pose.models.hrnet import build_hrnet
    from keras_pose.models.model_folder import load_run

    model, info = load_run(SHIPPED_WEIGHTS[DEFAULT_WEIGHTS])
    trained = model.get_layer("hrnet")
    networks = {}
    for side in levels:
        network = build_hrnet(info.model["variant"], info.skeleton.num_joints, (side, side))
        network.set_weights(trained.get_weights())
        networks[side] = keras.Model(network.inputs, network.outputs).predict_on_batch
    return PyramidFinder(networks, info.input_size[0], info.heatmap_peak)


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines the command's flags."""
    score.define_test_flags(values)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    if arguments:
        raise UserError(f"unknown argument {arguments[0]!r}; give everything as --name=value")
    if not (FLAGS.photos and FLAGS.labels):
        raise UserError("--photos and --labels are missing; see --help")
    labelled = read_photos(FLAGS.photos, FLAGS.labels)
    pyramid = load()
    finder = PersonFinder(pyramid, pyramid.side, FLAGS.score, levels=(1.0,))
    chosen = score.limited(held_out_photos(labelled, FLAGS.split), FLAGS.limit, FLAGS.seed)
    pool = score.load_pool(labelled, FLAGS.split)
    start = time.monotonic()
    figures, _ = score.measure(finder, FLAGS.score, None, chosen, pool, FLAGS.empty, FLAGS.seed)
    print(score.format_figures(figures))
    print(f"{time.monotonic() - start:.0f} s")
    if FLAGS.json:
        atomic.write_json(FLAGS.json, figures)


if __name__ == "__main__":
    define_flags()
    command.run(main)
