"""3D human pose from a single image, with TensorFlow and Keras 3."""

__version__ = "0.1.0"
__all__ = ["PosePredictor", "PoseResult", "PoseTracker"]


def __getattr__(name: str):
    """Loads the predictor when it is first asked for, so that `import keras_pose` stays fast."""
    if name in __all__:
        from keras_pose import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'keras_pose' has no attribute {name!r}")
