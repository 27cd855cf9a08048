"""3D human pose from a single image, with TensorFlow and Keras 3."""

import importlib
import os

from keras_pose.core import quiet

# TensorFlow has oneDNN's convolutions for every processor but takes them by itself only on some; on a Zen 3 one, say,
# training is three times as fast with them. It reads this when it is first imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
quiet.install()

__version__ = "0.1.0"
_PUBLIC = {"PosePredictor": "predictor", "PoseResult": "predictor", "PoseTracker": "tracker"}  # of keras_pose.inference
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    """Loads the predictor when it is first asked for, so that `import keras_pose` stays fast."""
    if name in __all__:
        return getattr(importlib.import_module(f"keras_pose.inference.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'keras_pose' has no attribute {name!r}")
