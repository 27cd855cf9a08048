"""The finder's losses: CenterNet's focal loss for centers (arXiv 1904.07850, Eq. 1), and a relative L1 for boxes."""

from keras import ops

ALPHA, BETA = 2.0, 4.0  # from the paper
SMALLEST_SIDE = 0.04  # of the input's side; errors of smaller boxes are relative to this size
EPSILON = 1e-4


def center_loss(target, weight, scores):
    """The focal loss for a map of centers.

    L = -1/N sum [ (1 - p)^a log p  if the target is 1, else (1 - target)^b p^a log(1 - p) ], for N people

    Args:
        target: (B, h, w, 1), 1 at a person's cell and falling off around it.
        weight: (B, h, w, 1), 0 for cells where the presence of a person is unknown.
        scores: (B, h, w, 1) in [0, 1].
    """
    p = ops.clip(scores, EPSILON, 1 - EPSILON)
    is_center = ops.cast(target >= 1.0, p.dtype)
    positive = is_center * (1 - p) ** ALPHA * ops.log(p)
    negative = (1 - is_center) * (1 - target) ** BETA * p**ALPHA * ops.log(1 - p)
    return -ops.sum(weight * (positive + negative)) / ops.maximum(ops.sum(is_center), 1.0)


def box_loss(target, weight, boxes):
    """The errors of a box's four sides, relative to its width or height, summed; the mean over cells with a person.

    Args:
        target, boxes: (B, h, w, 4) distances to the left, top, right and bottom side.
        weight: (B, h, w, 1), 0 for cells that belong to nobody.
    """
    sides = target[..., :2] + target[..., 2:]  # (B, h, w, 2) width and height
    scale = ops.tile(ops.maximum(sides, SMALLEST_SIDE), (1, 1, 1, 2))
    return ops.sum(weight * ops.abs(target - boxes) / scale) / ops.maximum(ops.sum(weight), 1.0)
