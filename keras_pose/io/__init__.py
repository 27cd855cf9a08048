"""Files: images, video, archives, checkpoints, motion capture, atomic writes, locks. No TensorFlow."""
