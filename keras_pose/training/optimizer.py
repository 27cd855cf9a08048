"""Adam over all parameters at once, and the loss scaling that float16 needs.

Keras optimizers update each variable with a dozen operations of its own: for the 878 variables of HRNet-W32, that is
over half of the training graph. Here all gradients form one vector: one update, then one split and assignment each.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from keras_pose.models import tensorflow_speed
from keras_pose.training.experiment import OptimizerConfig


class FlatAdam:
    """Adam (Kingma and Ba 2015) as Keras computes it, with clipping by the global norm and an average of the weights.

    Vectors hold the variables grouped by shape: equal shapes are stacked instead of reshaped one by one, which saves
    more operations. The parameters themselves are also kept as such a vector, so no variable needs to be read.

    Under data parallelism every replica holds the same state and gets the same `gradient` (the sum over replicas), so
    all make the same update. Only that one vector is exchanged.

    Args:
        variables: Keras variables to train. After setting them in any other way, call `take_up`.
        config: see `OptimizerConfig`; each `apply` takes the learning rate.
    """

    def __init__(self, variables: Sequence[keras.Variable], config: OptimizerConfig):
        self.variables = list(variables)
        self.config = config
        self._groups: dict[tuple, list[int]] = {}  # shape and result of `_kind` to indices of variables
        for i, variable in enumerate(self.variables):
            self._groups.setdefault((tuple(variable.shape), self._kind(variable)), []).append(i)
        self._sizes = [math.prod(shape) * len(members) for (shape, _), members in self._groups.items()]
        total = sum(self._sizes)
        self.iterations = keras.Variable(0, shape=(), dtype="int32", trainable=False, name="iterations")
        self._make_moments(total)
        self.average = zeros(total, "average") if config.ema else None
        self.parameters = zeros(total, "parameters")
        self.take_up()
        if self.average is not None:
            self.average.assign(self.parameters)

    def _make_moments(self, total: int) -> None:
        self.first_moment = zeros(total, "first_moment")
        self.second_moment = zeros(total, "second_moment")

    @property
    def state(self) -> dict[str, keras.Variable]:
        """The state to checkpoint beside the variables, by name."""
        names = ("iterations", "first_moment", "second_moment", "average")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def take_up(self) -> None:
        """Continues from the current values of the variables, for example after restoring a checkpoint."""
        self.parameters.assign(self.flatten([variable.value for variable in self.variables]))

    def flatten(self, tensors: Sequence):
        """Concatenates one tensor per variable to one float32 vector, grouped like `parameters`."""
        stacks = [ops.stack([tensors[i] for i in members]) for members in self._groups.values()]
        return ops.concatenate([ops.reshape(ops.cast(stack, "float32"), (-1,)) for stack in stacks])

    def apply(self, gradient, learning_rate, keep=None):
        """Takes one step.

        Args:
            gradient: a vector from `flatten`.
            learning_rate: a scalar.
            keep: a boolean scalar; if false, nothing changes. None means true.

        Returns:
            The norm of the gradient before clipping, as a scalar.
        """
        config = self.config
        norm = ops.sqrt(ops.sum(ops.square(gradient)))
        if config.clip_norm:
            gradient = gradient * ops.minimum(config.clip_norm / (norm + 1e-12), 1.0)
        t = ops.cast(self.iterations, "float32") + 1.0
        self._update(gradient, learning_rate, t, keep)
        parameters = ops.convert_to_tensor(self.parameters)
        if self.average is not None:
            # A shorter average at first, which soon forgets the untrained weights.
            decay = ops.minimum(config.ema, (1.0 + t) / (10.0 + t))
            assign(self.average, self.average + (parameters - self.average) * (1.0 - decay), keep)
        assign(self.iterations, self.iterations + 1, keep)
        self._set_variables(parameters)
        return norm

    def _kind(self, variable):
        """Variables of one shape and kind are stacked; subclasses override this to treat some differently."""
        return None

    def _update(self, gradient, learning_rate, t, keep) -> None:
        adam = self._adam_in_place if tensorflow_speed.tricks_are_on() else self._adam
        adam(gradient, learning_rate, t, keep)

    def _adam(self, gradient, learning_rate, t, keep) -> None:
        """Updates both moments and the parameters at step `t`, counted from 1."""
        config = self.config
        first = self.first_moment + (gradient - self.first_moment) * (1.0 - config.beta_1)
        second = self.second_moment + (ops.square(gradient) - self.second_moment) * (1.0 - config.beta_2)
        correction = ops.sqrt(1.0 - ops.power(config.beta_2, t)) / (1.0 - ops.power(config.beta_1, t))
        parameters = self.parameters - learning_rate * correction * first / (ops.sqrt(second) + config.epsilon)
        for name, value in {"first_moment": first, "second_moment": second, "parameters": parameters}.items():
            assign(getattr(self, name), value, keep)

    def _adam_in_place(self, gradient, learning_rate, t, keep) -> None:
        """Like `_adam`, with TensorFlow's own kernel."""
        moments = self.first_moment, self.second_moment
        tensorflow_speed.apply_adam(self.parameters, *moments, gradient, learning_rate, t, self.config, keep)

    def _set_variables(self, vector) -> None:
        for variable, value in zip(self.variables, self._unflatten(vector), strict=True):
            variable.assign(value)

    def _unflatten(self, vector) -> list:
        """The inverse of `flatten`."""
        values = [None] * len(self.variables)
        for ((shape, _), members), part in zip(self._groups.items(), self._split(vector), strict=True):
            stack = ops.unstack(ops.reshape(part, (len(members), *shape)), len(members))
            for i, value in zip(members, stack, strict=True):
                values[i] = value
        return values

    def _split(self, vector) -> list:
        """The part of each group."""
        return ops.split(vector, np.cumsum(self._sizes)[:-1].tolist())

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the variables have the values of their moving average, if there is one."""
        if self.average is None:
            yield
            return
        self._set_variables(ops.convert_to_tensor(self.average))
        try:
            yield
        finally:
            self._set_variables(ops.convert_to_tensor(self.parameters))


class StockAdam(FlatAdam):
    """Keras' own Adam, which updates one variable after another; for `--nospeed_tricks`."""

    def _make_moments(self, total: int) -> None:
        config = self.config
        self._adam_of_keras = keras.optimizers.Adam(1.0, config.beta_1, config.beta_2, config.epsilon)
        self._adam_of_keras.build(self.variables)

    @property
    def state(self) -> dict[str, keras.Variable]:
        shared = {"iterations": self.iterations} | ({} if self.average is None else {"average": self.average})
        variables = enumerate(self._adam_of_keras.variables)
        return shared | {f"adam/{i:04d}/{variable.name}": variable for i, variable in variables}

    def _update(self, gradient, learning_rate, t, keep) -> None:
        if keep is not None:
            raise NotImplementedError("Keras' Adam cannot skip steps; `check_settings` should have refused this")
        self._adam_of_keras.learning_rate = learning_rate
        self._adam_of_keras.apply(self._unflatten(gradient), self.variables)
        self.parameters.assign(self.flatten([variable.value for variable in self.variables]))


def make_adam(variables: Sequence[keras.Variable], config: OptimizerConfig) -> FlatAdam:
    """Adam; without speed tricks, Keras' own."""
    return (FlatAdam if tensorflow_speed.tricks_are_on() else StockAdam)(variables, config)


class LossScale:
    """Dynamic loss scaling: float16 rounds small gradients to zero, so the loss is scaled up as far as it can be.

    After an overflow the step is skipped and the scale halved; after `growth_steps` good steps in a row it doubles.
    """

    def __init__(self, initial: float = 2.0**15, growth_steps: int = 2000):
        self.growth_steps = growth_steps
        self.scale = keras.Variable(initial, shape=(), dtype="float32", trainable=False, name="loss_scale")
        self.good_steps = keras.Variable(0, shape=(), dtype="int32", trainable=False, name="good_steps")

    @property
    def state(self) -> dict[str, keras.Variable]:
        """The state to checkpoint, by name."""
        return {"loss_scale": self.scale, "good_steps": self.good_steps}

    def unscale(self, gradient):
        """The unscaled gradient (zero after an overflow) and whether it is finite; updates the scale."""
        finite = ops.all(ops.isfinite(gradient))
        gradient = ops.where(finite, gradient / self.scale, 0.0)
        grows = self.good_steps + 1 >= self.growth_steps
        factor = ops.where(finite, ops.where(grows, 2.0, 1.0), 0.5)
        self.scale.assign(ops.clip(self.scale * factor, 1.0, 2.0**24))
        self.good_steps.assign(ops.where(ops.logical_and(finite, ops.logical_not(grows)), self.good_steps + 1, 0))
        return gradient, finite


def assign(variable: keras.Variable, value, keep) -> None:
    """Sets a variable, unless `keep` is a false scalar."""
    variable.assign(value if keep is None else ops.where(keep, value, variable))


def zeros(size: int, name: str) -> keras.Variable:
    """A float32 vector of optimizer state."""
    return keras.Variable("zeros", shape=(size,), dtype="float32", trainable=False, name=name)
