"""Muon for convolution kernels, whose steps are orthogonal matrices; Adam trains everything else.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). Kernel norms are held constant as in
Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498). `keras.optimizers.Muon` leaves convolution
kernels to Adam, and HRNet has no other kernels.
"""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_pose.training.experiment import OptimizerConfig
from keras_pose.training.optimizer import FlatAdam, assign, make_adam, zeros

ITERATIONS = 4  # of Newton-Schulz
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. (2024): steep at 0, singular values end within 0.7..1.2


class FlatMuon(FlatAdam):
    """Muon for the kernels of convolutions before a batch norm, Adam for all other variables.

    A kernel is one matrix of (height * width * channels in) x (channels out). Its Nesterov momentum is orthogonalized
    and scaled to the kernel's norm, which is held at the square root of the channels out; the batch norm after it
    cancels any scale. A step moves the kernel by `learning_rate * config.muon_factor` of that norm.

    A convolution with a bias, such as the heatmap layer, has no batch norm after it, so Adam trains it.

    Args: see `FlatAdam`.
    """

    def __init__(self, variables: Sequence[keras.Variable], config: OptimizerConfig):
        self._biased = {v.path.removesuffix("/bias") for v in variables if v.path.endswith("/bias")}
        super().__init__(variables, config)
        kernels = sum(size for size, (_, is_kernel) in zip(self._sizes, self._groups, strict=True) if is_kernel)
        self.momentum = zeros(kernels, "momentum")

    @property
    def state(self) -> dict[str, keras.Variable]:
        return super().state | {"momentum": self.momentum}

    def _kind(self, variable) -> bool:
        """Whether Muon trains this kernel."""
        return len(variable.shape) == 4 and variable.path.removesuffix("/kernel") not in self._biased

    def _update(self, gradient, learning_rate, t, keep) -> None:
        moved, rest, moments, start = [], [], [], 0
        before = self._split(ops.convert_to_tensor(self.parameters))
        gradients = self._split(gradient)
        for ((shape, is_kernel), members), size, g, p in zip(
            self._groups.items(), self._sizes, gradients, before, strict=True
        ):
            if not is_kernel:
                moved.append(p)
                rest.append(g)
                continue
            stack = (len(members), math.prod(shape[:3]), shape[3])
            momentum = self.momentum[start : start + size]
            momentum = self.config.muon_momentum * momentum + g
            look_ahead = ops.reshape(g + self.config.muon_momentum * momentum, stack)
            step = _normalized(orthogonalized(look_ahead))
            p = _normalized(ops.reshape(p, stack)) - learning_rate * self.config.muon_factor * step
            moved.append(ops.reshape(p, (-1,)))
            moments.append(momentum)
            rest.append(ops.zeros_like(g))  # keeps Adam's moments at zero, so Adam does not change them
            start += size
        if moments:
            assign(self.momentum, ops.concatenate(moments), keep)
            assign(self.parameters, ops.concatenate(moved), keep)
        super()._update(ops.concatenate(rest), learning_rate, t, keep)


def orthogonalized(matrices):
    """Approximately the nearest orthogonal matrices, with all singular values near 1, by Newton-Schulz iteration.

    Args:
        matrices: (N, R, C) floats.

    Returns:
        (N, R, C); zero for a zero matrix.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = ops.transpose(matrices, (0, 2, 1)) if is_tall else matrices
    x = x / (_norm(x) + 1e-12)
    for _ in range(ITERATIONS):
        gram = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x, (0, 2, 1)) if is_tall else x


def _norm(matrices):
    return ops.sqrt(ops.sum(ops.square(matrices), axis=(1, 2), keepdims=True))


def _normalized(matrices):
    """Scales each matrix to a Frobenius norm of the square root of its number of columns."""
    return matrices * (math.sqrt(matrices.shape[2]) / (_norm(matrices) + 1e-12))


def make_optimizer(variables: Sequence[keras.Variable], config: OptimizerConfig) -> FlatAdam:
    """The optimizer named by `config.name`."""
    return FlatMuon(variables, config) if config.name == "muon" else make_adam(variables, config)
