import numpy as np
import tensorflow as tf

from keras_pose.data import pipeline
from keras_pose.data.dataset import open_dataset
from keras_pose.training import distribution


def test_a_processor_alone_reads_the_data_set_itself(toy_dataset):
    """No pipeline lies between that a thread tunes: freeing its iterator would wait for that thread."""
    info = open_dataset(str(toy_dataset))
    strategy = distribution.make_strategy("one_device")
    batches = distribution.distribute_batches(strategy, info, "train", 4, training=True, seed=3, skip_batches=1)
    assert isinstance(batches, tf.data.Dataset) and batches.options().autotune.enabled is False
    expected = list(pipeline.make_batches(info, "train", 4, training=True, seed=3, skip_batches=1))
    found = list(batches)
    assert len(found) == len(expected) == 5
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine["image"], theirs["image"])


def test_other_devices_are_fed_by_the_strategy(toy_dataset):
    info = open_dataset(str(toy_dataset))
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    batches = distribution.distribute_batches(strategy, info, "validation", 4, training=False)
    assert isinstance(batches, tf.distribute.DistributedDataset)
    assert sum(len(batch["image"]) for batch in batches) == 10
