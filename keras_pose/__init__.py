"""3D human pose from a single image, with TensorFlow and Keras 3."""

import importlib
import os
from typing import Any

from keras_pose.core import quiet

# TensorFlow includes oneDNN convolutions for all processors but enables them only on some. On Zen 3, for example, they
# make training three times as fast. The variable is read when TensorFlow is first imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
quiet.install()

__version__ = "0.2.0"
_PUBLIC = {  # names in keras_pose.inference
    "PeopleTracker": "tracker",
    "PersonFinder": "finder",
    "PosePredictor": "predictor",
    "PoseResult": "predictor",
    "PoseTracker": "tracker",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Imports the predictor on first use, which keeps `import keras_pose` fast."""
    if name in __all__:
        return getattr(importlib.import_module(f"keras_pose.inference.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'keras_pose' has no attribute {name!r}")
