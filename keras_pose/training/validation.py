"""Validation after an epoch: losses and metrics on the validation split, on all replicas."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_pose.data.dataset import DatasetInfo
from keras_pose.training import distribution, steps
from keras_pose.training.experiment import Experiment
from keras_pose.training.phases import Phase


class Validator:
    """Runs a phase's model on the validation split; the step is compiled once per phase."""

    def __init__(self, strategy: tf.distribute.Strategy, phase: Phase, experiment: Experiment, dataset: DatasetInfo):
        self.strategy, self.phase, self.experiment, self.dataset = strategy, phase, experiment, dataset
        self._step: Callable | None = None

    def run(self, on_first_batch: Callable[[dict, dict], None]) -> dict[str, float]:
        """The means of `steps.eval_terms` over the split.

        Args:
            on_first_batch: called with the first batch and its outputs, as arrays.
        """
        experiment = self.experiment
        batches = distribution.distribute_batches(
            self.strategy,
            self.dataset,
            "validation",
            experiment.data.batch_size,
            training=False,
            shard_by=experiment.data.shard_by,
        )
        if self._step is None:
            self._step = steps.make_eval_step(
                self.strategy,
                self.phase,
                experiment.loss,
                experiment.model.get_skeleton(),
                experiment.model.input_size,
                batches.element_spec,
            )
        totals: dict[str, np.ndarray] = {}
        for i, batch in enumerate(batches):
            terms, outputs = self._step(batch)
            for name, term in terms.items():
                parts = np.array([self._local(value) for value in term], np.float64)  # (sum and weight, replicas)
                totals[name] = totals.get(name, 0.0) + parts.sum(-1)
            if i == 0:
                on_first_batch(self._gathered(batch), self._gathered(outputs))
        values = distribution.sum_over_workers(self.strategy, np.stack(list(totals.values())))
        return steps.eval_means(dict(zip(totals, values, strict=True)), experiment.loss)

    def _gathered(self, values: dict) -> dict:
        return {name: np.concatenate(self._local(value)) for name, value in values.items()}

    def _local(self, value) -> list[np.ndarray]:
        return [part.numpy() for part in distribution.local_values(self.strategy, value)]
