"""Dressed bodies: shape, skeleton, skin, clothes and appearance."""
