"""Synthetic people: bodies, motion, rendering and scenes. No TensorFlow."""
