"""Files: images, video, archives, checkpoints, motion capture, atomic writes and locks. No TensorFlow."""
