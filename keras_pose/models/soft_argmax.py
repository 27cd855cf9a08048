"""Soft-argmax: heatmaps to coordinates with a differentiable expectation (Eq. 2 to 5 of the paper).

It avoids ARG_MAX, GATHER_ND and tensors of more than four dimensions, which phones' GPU delegates refuse.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_pose.core.errors import UserError, unknown_name

FORMS = ("marginal", "flat")
LOWEST_PEAK = 0.02  # lower heatmaps show no joint, so they are not scaled up to full height


def _softmax_over_cells(heatmaps, beta: float):
    """(B, H, W, J) to (B, J, H*W): the softmax of beta times each map, in float32."""
    height, width, joints = heatmaps.shape[1:]
    logits = ops.transpose(ops.cast(heatmaps, "float32"), (0, 3, 1, 2))  # (B, J, H, W)
    logits = ops.reshape(logits, (-1, joints, height * width))  # (B, J, H*W)
    return ops.softmax(logits * beta, axis=-1)


def marginal_soft_argmax(heatmaps, beta: float):
    """The separate expectations of x and y: correct for any distribution of the mass.

    (B, H, W, J) to (B, J, 2), (x, y) in [0, 1]; the center of cell i of n is (i + 0.5) / n.

    The sum is taken row by row, about the center of the crop, and divided by the total mass. A single sum over all
    cells would round away the many small shares of the background next to the peak: in LiteRT, this moves joints by up
    to 0.01 pixels of a 256-pixel crop. The total mass is 1 up to rounding, so its inverse is 2 minus itself.
    """
    height, width, joints = heatmaps.shape[1:]
    xs, ys = ((np.arange(n) + 0.5) / n - 0.5 for n in (width, height))
    of_row = np.stack([np.ones(width), xs], axis=-1)  # (W, 2): a row's mass and its moment about the center
    to_moments, to_mass = np.zeros((2, height, 2, 2))  # from the (mass, moment) of every row to values for (x, y)
    to_moments[:, 1, 0], to_moments[:, 0, 1] = 1.0, ys
    to_mass[:, 0] = 1.0

    def total(rows, weights):  # (B, J, 2*H) to (B, J, 2)
        return ops.matmul(rows, weights.reshape(2 * height, 2).astype("float32"))

    cells = ops.reshape(_softmax_over_cells(heatmaps, beta), (-1, joints * height, width))  # (B, J*H, W)
    rows = ops.reshape(ops.matmul(cells, of_row.astype("float32")), (-1, joints, 2 * height))  # (B, J, 2*H)
    return total(rows, to_moments) * (2.0 - total(rows, to_mass)) + 0.5


def flat_soft_argmax(heatmaps, beta: float):
    """The expectation of the FLAT index tau, read as x = tau mod W and y = tau / W, the form printed in the paper.

    (B, H, W, J) to (B, J, 2), (x, y) in [0, 1].

    Eq. 5 prints tau / H, which is the same on its square maps but wrong otherwise, because a row has W cells. Cells are
    read at their centers, so half a cell is added to tau: x is exact for a spike, and y, which Eq. 5 does not round, is
    off by less than half a cell. If mass spreads over two rows, x is wrong by definition.
    """
    height, width = heatmaps.shape[1:3]
    indices = (np.arange(height * width, dtype="float32") + 0.5)[:, None]  # (H*W, 1)
    tau = ops.matmul(_softmax_over_cells(heatmaps, beta), indices)  # (B, J, 1)
    return ops.concatenate([ops.mod(tau, float(width)) / width, tau / (height * width)], axis=-1)


def relative_heatmaps(heatmaps):
    """Heatmaps (B, H, W, J) relative to their own peaks, float32; no gradient flows through the peaks.

    An unsure network predicts low peaks. The lower the peak, the larger the background's share of the softmax, which
    pulls the joint to the center of the crop. With relative heatmaps, this share does not depend on the peak.
    """
    heatmaps = ops.cast(heatmaps, "float32")
    peaks = ops.max(ops.stop_gradient(heatmaps), axis=(1, 2), keepdims=True)  # (B, 1, 1, J)
    return heatmaps / ops.maximum(peaks, LOWEST_PEAK)


def inhibit_other_side(heatmaps, mirror: Sequence[int], share: float):
    """Heatmaps (B, H, W, J) less a share of the mirrored joint's, never below 0; float32.

    Not in the paper. A network that is unsure of left and right shows two peaks in both heatmaps of a pair, and both
    joints are read at the same one. Subtracting lowers a map's peak where the other map is higher. Where both joints
    are truly in one place, both maps keep their peak there. `mirror` is `Skeleton.flip_permutation`. A 1 x 1
    convolution permutes the maps, because phones refuse GATHER_ND.
    """
    joints = len(mirror)
    kernel = np.eye(joints, dtype="float32")
    for joint, other in enumerate(mirror):
        if other != joint:
            kernel[other, joint] = -share
    heatmaps = ops.cast(heatmaps, "float32")
    return ops.relu(ops.conv(heatmaps, kernel[None, None], padding="valid"))


def joint_scores(heatmaps, peak: float = 1.0):
    """(B, H, W, J) to (B, J) in [0, 1]: each heatmap's maximum relative to `peak`, the training target's; float32."""
    return ops.clip(ops.max(ops.cast(heatmaps, "float32"), axis=(1, 2)) / peak, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="keras_pose")
class SoftArgmax(keras.layers.Layer):
    """(B, H, W, J) heatmaps to (B, J, 2) coordinates (x, y) in [0, 1], in float32 in every precision.

    Args:
        beta: factor on the heatmaps before the softmax. The peak must outweigh H*W background cells, so beta times the
            peak should be about 20: 100 for the paper's targets with a peak of 0.2; 20 for a peak of 1.
        form: `marginal` (`marginal_soft_argmax`) or `flat` (`flat_soft_argmax`, as printed in the paper).
        relative: divides each heatmap by its peak first (`relative_heatmaps`), unlike the paper. The best beta then
            depends neither on the target nor on how clearly a joint is seen: about 10 for 16 x 16 cells, 13 for
            64 x 64.
        inhibition: share of the mirrored joint's heatmap that is subtracted first (`inhibit_other_side`), below 1.
        mirror: the joint on the other side of each joint (`Skeleton.flip_permutation`); needed for `inhibition`.

    Raises:
        UserError: beta is not positive, the form is unknown, or the inhibition is not in [0, 1).
    """

    def __init__(
        self,
        beta: float = 100.0,
        form: str = "marginal",
        relative: bool = False,
        inhibition: float = 0.0,
        mirror: Sequence[int] = (),
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if not beta > 0:
            raise UserError(f"soft-argmax beta is {beta}; give a positive factor, such as 100")
        if form not in FORMS:
            raise unknown_name("soft-argmax form", form, FORMS)
        self.beta = float(beta)
        self.form = form
        if not 0 <= inhibition < 1:
            raise UserError(f"left/right inhibition is {inhibition}; give a share from 0 to below 1, such as 0.2")
        if inhibition and not mirror:
            raise UserError("left/right inhibition needs the skeleton's flip permutation as mirror, which is empty")
        self.relative = bool(relative)
        self.inhibition = float(inhibition)
        self.mirror = tuple(int(joint) for joint in mirror)

    def call(self, heatmaps):
        if self.inhibition:
            heatmaps = inhibit_other_side(heatmaps, self.mirror, self.inhibition)
        read = marginal_soft_argmax if self.form == "marginal" else flat_soft_argmax
        return read(relative_heatmaps(heatmaps) if self.relative else heatmaps, self.beta)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("beta", "form", "relative", "inhibition", "mirror")}
        return {**super().get_config(), **own}
