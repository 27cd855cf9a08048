"""3D human pose from a single image, with TensorFlow and Keras 3."""

__version__ = "0.1.0"
