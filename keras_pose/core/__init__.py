"""Shared by every part: errors, skeletons, camera geometry, progress, and the basics of commands. No TensorFlow."""
