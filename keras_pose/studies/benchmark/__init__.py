"""Speed measured side by side; see `python -m keras_pose.benchmark --help`."""
