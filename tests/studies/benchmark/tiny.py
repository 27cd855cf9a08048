"""A contest of the smallest network."""

from keras_pose.studies.benchmark.contest import Contest

TINY = Contest("w8_tiny", (64, 96), batch_size=2, rounds=2)
