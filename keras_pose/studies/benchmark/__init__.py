"""Speed measured side by side; `python -m keras_pose.benchmark --help` tells what."""
